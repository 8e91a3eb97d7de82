package entity_test

import (
	"context"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// unheard loses every event.
type unheard struct{}

func (unheard) Announce(context.Context, *sluicepb.EntityEvent) error { return nil }

// A node that misses the event of another's change shows it nevertheless: at once when it knows that it may have missed
// something, else a minute later.
func TestListsDoNotStayStale(t *testing.T) {
	clock := now()
	p := start(t)
	here := entity.New(p.store, entity.Options{Events: unheard{}, Now: func() time.Time { return clock }})
	there := entity.New(p.store, entity.Options{Events: unheard{}, Now: now})
	list := func() string {
		t.Helper()
		got, err := here.Devices.List(t.Context(), p.tenant, entity.DeviceFilter{}, entity.PageRequest{Size: 10})
		if err != nil {
			t.Fatal(err)
		}
		return names(got)
	}
	add := func(name string) {
		t.Helper()
		if _, err := there.Devices.Create(t.Context(), entity.Device{Tenant: p.tenant, Name: name}, nil); err != nil {
			t.Fatal(err)
		}
	}
	add("a")
	if got := list(); got != "a" {
		t.Fatalf("listed %q", got)
	}
	add("b")
	clock = clock.Add(59 * time.Second)
	if got := list(); got != "a" {
		t.Errorf("after 59 s: %q; it is loaded too often", got)
	}
	clock = clock.Add(time.Second)
	if got := list(); got != "a b" {
		t.Errorf("after 60 s: %q", got)
	}
	add("c")
	here.Forget()
	if got := list(); got != "a b c" {
		t.Errorf("after Forget: %q", got)
	}
}
