package live_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
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

// What was read to catch up is not told when it was told again, or deleted, meanwhile. A reading that a later one overtook
// is told all the same.
func TestCatchingUpLeavesOutWhatWasToldMeanwhile(t *testing.T) {
	hub, e := live.NewHub(), ident.EntityID{Type: ident.Device, ID: ident.New()}
	in := func(scope storage.Scope, key string, at, n int64) live.Update {
		return live.Update{Entity: e, Scope: scope, Time: at, Values: []telemetry.KeyValue{{Key: key, Value: telemetry.OfLong(n)}}}
	}
	value := func(key string, n int64) live.Update { return in(storage.Timeseries, key, n, n) }
	var told []string
	note := func(u live.Update) {
		for _, kv := range u.Values {
			told = append(told, fmt.Sprint(kv.Key, "=", kv.Long()))
		}
	}
	if err := hub.CatchUp(e, func(int64) ([]live.Update, error) { t.Error("read for nobody"); return nil, nil }); err != nil {
		t.Fatal(err)
	}
	defer hub.Watch(e, note)()
	hub.Publish([]live.Update{value("a", 1), value("b", 1)})
	err := hub.CatchUp(e, func(since int64) ([]live.Update, error) {
		if since != 1 {
			t.Errorf("reads what is newer than %d, want 1", since)
		}
		hub.Publish([]live.Update{
			value("b", 3), in(storage.Timeseries, "corrected", 2, 20), in(storage.Shared, "attribute", 3, 3), {Entity: e, Deleted: []string{"c"}},
		})
		return []live.Update{
			value("a", 2), value("b", 2), value("corrected", 2), value("c", 2), in(storage.Shared, "attribute", 2, 2), value("b", 1),
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a=1", "b=1", "b=3", "corrected=20", "attribute=3", "a=2", "b=2"}, told); diff != "" {
		t.Error(diff)
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
