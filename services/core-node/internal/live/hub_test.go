package live_test

import (
	"sync"
	"testing"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
)

func TestWatchersHearOfTheirEntityUntilTheyStop(t *testing.T) {
	hub, e := live.NewHub(), ident.EntityID{Type: ident.Device, ID: ident.New()}
	other := ident.EntityID{Type: ident.Device, ID: ident.New()}
	var first, second int
	stopFirst := hub.Watch(e, func(live.Update) { first++ })
	stopSecond := hub.Watch(e, func(live.Update) { second++ })
	hub.Publish([]live.Update{{Entity: e}, {Entity: other}})
	stopFirst()
	stopFirst() // twice is once
	if !hub.Watched(e) || hub.Watched(other) {
		t.Error("watched or not is not known")
	}
	hub.Publish([]live.Update{{Entity: e}})
	stopSecond()
	hub.Publish([]live.Update{{Entity: e}})
	if first != 1 || second != 2 || hub.Watched(e) {
		t.Errorf("told %d and %d times", first, second)
	}
}

func TestAWatcherMayStopWhileItIsTold(t *testing.T) {
	hub, e := live.NewHub(), ident.EntityID{Type: ident.Device, ID: ident.New()}
	told := 0
	var stop func()
	stop = hub.Watch(e, func(live.Update) { told++; stop() })
	hub.Publish([]live.Update{{Entity: e}, {Entity: e}})
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

func TestManyAtOnce(t *testing.T) {
	hub, e := live.NewHub(), ident.EntityID{Type: ident.Device, ID: ident.New()}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 200 {
				busy := false // deliver is never called concurrently, or the race detector tells
				stop := hub.Watch(e, func(live.Update) { busy = !busy })
				hub.Publish([]live.Update{{Entity: e}})
				stop()
			}
		})
	}
	group.Wait()
	if hub.Watched(e) {
		t.Error("somebody was left behind")
	}
}

func BenchmarkNobodyWatches(b *testing.B) {
	hub, e := live.NewHub(), ident.EntityID{Type: ident.Device, ID: ident.New()}
	b.ReportAllocs()
	for b.Loop() {
		if hub.Watched(e) {
			b.Fatal("somebody does")
		}
	}
}
