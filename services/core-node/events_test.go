package corenode

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// fragile is a bus whose reading of events breaks off when the test says.
type fragile struct {
	Bus
	breaks chan error
	begun  chan struct{}
}

func (f *fragile) Tail(ctx context.Context, topic string, ready chan<- struct{}, handle func(bus.Record)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case err := <-f.breaks:
			stop(err)
		case <-ctx.Done():
		}
	}()
	f.begun <- struct{}{}
	if err := f.Bus.Tail(ctx, topic, ready, handle); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

type unheard struct{}

func (unheard) Announce(context.Context, *sluicepb.EntityEvent) error { return nil }

// TestMissedEventsAreNotTrusted: when reading tb.events broke off, nothing remembered before is believed any more.
func TestMissedEventsAreNotTrusted(t *testing.T) {
	f := &fragile{breaks: make(chan error), begun: make(chan struct{}, 10)}
	n := startOn(t, func(b Bus) Bus { f.Bus = b; return f }, nil)
	<-f.begun
	list := func() int {
		t.Helper()
		page, err := n.entities.Devices.List(t.Context(), n.device.Tenant, entity.DeviceFilter{}, entity.PageRequest{Size: 1})
		if err != nil {
			t.Fatal(err)
		}
		return page.Total
	}
	elsewhere := entity.New(n.store, entity.Options{Events: unheard{}})
	var before, made int
	eventually(t, "the list to be remembered", func() bool {
		before = list()
		made++
		d := entity.Device{Tenant: n.device.Tenant, Name: "made elsewhere " + strconv.Itoa(made)}
		if _, err := elsewhere.Devices.Create(t.Context(), d, nil); err != nil {
			t.Fatal(err)
		}
		return list() == before
	})
	f.breaks <- errors.New("the test breaks it")
	<-f.begun
	eventually(t, "the new device to be listed", func() bool { return list() > before })
}
