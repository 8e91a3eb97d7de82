package entity

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
)

// Announcer is Events over tb.events.
type Announcer struct{ Bus bus.Publisher }

// Announce publishes event under its entity's id and waits for the acknowledgement. When ctx
// ends first the event may still arrive.
func (a Announcer) Announce(ctx context.Context, event *sluicepb.EntityEvent) error {
	value, err := proto.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode entity event: %w", err)
	}
	acknowledged := make(chan error, 1)
	m := bus.Message{Topic: topics.Events, Key: event.GetEntity().GetId(), Value: value}
	if err := a.Bus.Publish(m, func(err error) { acknowledged <- err }); err != nil {
		return fmt.Errorf("publish entity event: %w", err)
	}
	select {
	case err := <-acknowledged:
		if err != nil {
			return fmt.Errorf("publish entity event: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("publish entity event: %w", ctx.Err())
	}
}
