package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// Lifecycle tells a device's owner of its creation and deletion. It implements entity.Lifecycle.
type Lifecycle struct{ Bus bus.Publisher }

// DeviceCreated returns once the bus has the message.
func (l Lifecycle) DeviceCreated(ctx context.Context, d entity.Device) error {
	return l.tell(ctx, entityCreated, d)
}

// DeviceDeleted returns once the bus has the message.
func (l Lifecycle) DeviceDeleted(ctx context.Context, d entity.Device) error {
	return l.tell(ctx, entityDeleted, d)
}

func (l Lifecycle) tell(ctx context.Context, kind string, d entity.Device) error {
	document, err := deviceDocument(d)
	if err != nil {
		return fmt.Errorf("tell of a device: %w", err)
	}
	value, err := proto.Marshal(&sluicepb.CoreMessage{
		TenantId: d.Tenant.ID[:], Entity: &sluicepb.EntityId{Type: ident.Device, Id: d.ID.ID[:]},
		Body: &sluicepb.CoreMessage_EntityLifecycle{EntityLifecycle: &sluicepb.EntityLifecycle{
			MessageType: kind, Data: string(document),
			Metadata: map[string]string{"entityName": d.Name, "entityType": "DEVICE"},
		}},
	})
	if err != nil {
		return fmt.Errorf("tell of a device: %w", err)
	}
	m := bus.Message{Topic: topics.Core, Key: d.ID.ID[:], Value: value}
	for {
		room := l.Bus.Room(m.Topic, m.Key)
		answered := make(chan error, 1)
		err := l.Bus.Publish(m, func(err error) { answered <- err })
		wait := (<-chan error)(answered)
		if errors.Is(err, bus.ErrFull) {
			wait = nil
		} else if err != nil {
			return fmt.Errorf("tell of a device: %w", err)
		} else {
			room = nil
		}
		select {
		case err := <-wait:
			return err
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// deviceDocument is d as the REST API shows it.
func deviceDocument(d entity.Device) ([]byte, error) {
	type reference struct {
		EntityType string   `json:"entityType"`
		ID         ident.ID `json:"id"`
	}
	return json.Marshal(struct {
		ID              reference       `json:"id"`
		CreatedTime     int64           `json:"createdTime"`
		TenantID        reference       `json:"tenantId"`
		CustomerID      reference       `json:"customerId"`
		DeviceProfileID reference       `json:"deviceProfileId"`
		Name            string          `json:"name"`
		Type            string          `json:"type"`
		Label           string          `json:"label"`
		AdditionalInfo  json.RawMessage `json:"additionalInfo,omitempty"`
		Version         int64           `json:"version"`
	}{
		reference{"DEVICE", d.ID.ID},
		d.CreatedTime,
		reference{"TENANT", d.Tenant.ID},
		reference{"CUSTOMER", d.Customer.ID},
		reference{"DEVICE_PROFILE", d.Profile},
		d.Name, d.Type, d.Label, d.AdditionalInfo, d.Version,
	})
}
