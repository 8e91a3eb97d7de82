package entity_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// publisher answers as its function does.
type publisher func(m bus.Message, done func(error)) error

func (p publisher) Publish(m bus.Message, done func(error)) error { return p(m, done) }

func (p publisher) Room(string, []byte) <-chan struct{} { return nil }

func TestAnnouncerWaitsForTheBus(t *testing.T) {
	id := ident.New()
	event := &sluicepb.EntityEvent{Entity: &sluicepb.EntityId{Type: ident.Device, Id: id[:]}, Version: 3}
	away := errors.New("away")
	ended, end := context.WithCancel(t.Context())
	end()
	for name, c := range map[string]struct {
		ctx     context.Context
		publish publisher
		want    error
	}{
		"acknowledged": {t.Context(), func(m bus.Message, done func(error)) error { go done(nil); return nil }, nil},
		"refused":      {t.Context(), func(bus.Message, func(error)) error { return bus.ErrFull }, bus.ErrFull},
		"lost":         {t.Context(), func(m bus.Message, done func(error)) error { done(away); return nil }, away},
		"not waited":   {ended, func(bus.Message, func(error)) error { return nil }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			a := entity.Announcer{Bus: publisher(func(m bus.Message, done func(error)) error {
				var got sluicepb.EntityEvent
				if err := proto.Unmarshal(m.Value, &got); err != nil || !proto.Equal(&got, event) || m.Topic != topics.Events || string(m.Key) != string(id[:]) {
					t.Errorf("published %v on %s, %v", &got, m.Topic, err)
				}
				return c.publish(m, done)
			})}
			if err := a.Announce(c.ctx, event); !errors.Is(err, c.want) {
				t.Errorf("error is %v, want %v", err, c.want)
			}
		})
	}
}
