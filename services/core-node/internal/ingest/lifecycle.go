package ingest

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// Lifecycle tells entities' owners of what people did to them. It implements entity.Lifecycle.
type Lifecycle struct{ Bus bus.Publisher }

// Happened returns once the bus has the message.
func (l Lifecycle) Happened(ctx context.Context, c entity.Change) error {
	value, err := proto.Marshal(&sluicepb.CoreMessage{
		TenantId: c.Tenant.ID[:], Entity: &sluicepb.EntityId{Type: c.Originator.Type, Id: c.Originator.ID[:]},
		Body: &sluicepb.CoreMessage_EntityLifecycle{EntityLifecycle: &sluicepb.EntityLifecycle{
			MessageType: c.Kind, Data: c.Data, Metadata: c.Metadata,
		}},
	})
	if err != nil {
		return fmt.Errorf("tell of a change: %w", err)
	}
	if err := publish(ctx, l.Bus, bus.Message{Topic: topics.Core, Key: c.Originator.ID[:], Value: value}); err != nil {
		return fmt.Errorf("tell of a change: %w", err)
	}
	return nil
}
