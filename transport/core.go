package transport

import (
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
)

// tell takes a message of d to its owner on as PublishTelemetry takes readings on: metered, and done once the bus has it.
func (t *Transport) tell(d *Device, kind string, message *sluicepb.CoreMessage, done func(error)) error {
	value, err := proto.Marshal(message)
	if err != nil {
		return fault.Wrap(fault.Internal, "encode "+kind, err)
	}
	return t.takeOn(d, kind, bus.Message{Topic: topics.Core, Key: d.ID.ID[:], Value: value}, done)
}

// takeOn meters a message of d that is no reading and puts it on the bus.
func (t *Transport) takeOn(d *Device, kind string, m bus.Message, done func(error)) error {
	now := time.Now()
	if len(m.Value) > t.config.UplinkMaxBytes {
		t.metrics.requests.WithLabelValues(kind, "too_large").Inc()
		return ErrTooLarge
	}
	if !d.allowMessage(now) {
		t.metrics.requests.WithLabelValues(kind, "limited").Inc()
		return ErrRateLimited
	}
	err := t.bus.Publish(m, func(err error) {
		if err != nil {
			t.metrics.requests.WithLabelValues(kind, "unavailable").Inc()
			done(busFault("publish "+kind, err))
			return
		}
		t.metrics.requests.WithLabelValues(kind, "acknowledged").Inc()
		done(nil)
	})
	switch {
	case err == nil:
		t.activity.note(d, now)
		return nil
	case errors.Is(err, bus.ErrFull):
		d.returnMessage()
		d.state.coreFull.Store(m.Topic == topics.Core)
		t.metrics.requests.WithLabelValues(kind, "full").Inc()
		return bus.ErrFull
	default:
		t.metrics.requests.WithLabelValues(kind, "unavailable").Inc()
		return busFault("publish "+kind, err)
	}
}

// refused counts a message whose payload is wrong.
func (t *Transport) refused(kind string, err error) error {
	t.metrics.requests.WithLabelValues(kind, "invalid").Inc()
	return err
}
