package storagetest

import (
	"math"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func expiry(t *testing.T, s storage.Store, clock *Clock) {
	e := device()
	at := func(time int64, ttl time.Duration) storage.Write {
		return storage.Write{Entity: e, Time: time, Stamp: 1, TTL: ttl, Values: []telemetry.KeyValue{long("k", time)}}
	}
	write(t, s, at(1, time.Minute), at(2, 0), at(3, time.Hour), at(4, math.MaxInt64))
	seen := func() (times []int64) {
		for _, p := range points(t, s, e, "k", always, false) {
			times = append(times, p.Time)
		}
		return times
	}
	same(t, seen(), []int64{1, 2, 3, 4})
	clock.Advance(time.Minute - time.Millisecond)
	same(t, seen(), []int64{1, 2, 3, 4})
	clock.Advance(time.Millisecond)
	same(t, seen(), []int64{2, 3, 4})
	clock.Advance(time.Hour)
	same(t, seen(), []int64{2, 4})
	same(t, latest(t, s, e, nil), []storage.Entry{{KeyValue: long("k", 4), Time: 4}})
}

func expiryRenewed(t *testing.T, s storage.Store, clock *Clock) {
	e := device()
	for stamp := range int64(3) {
		write(t, s, storage.Write{Entity: e, Time: 1, Stamp: stamp, TTL: time.Hour, Values: []telemetry.KeyValue{long("k", stamp)}})
		clock.Advance(40 * time.Minute)
	}
	same(t, points(t, s, e, "k", always, false), []storage.Point{{Time: 1, Value: telemetry.OfLong(2)}})
	clock.Advance(20 * time.Minute)
	same(t, len(points(t, s, e, "k", always, false)), 0)
}

func stamps(t *testing.T, s storage.Store, _ *Clock) {
	e := device()
	at := func(stamp, value int64) storage.Write {
		return storage.Write{Entity: e, Time: 1, Stamp: stamp, Values: []telemetry.KeyValue{long("k", value)}}
	}
	for _, c := range []struct {
		batch []storage.Write
		want  int64
	}{
		{[]storage.Write{at(10, 1)}, 1},
		{[]storage.Write{at(9, 2)}, 1},
		{[]storage.Write{at(11, 3)}, 3},
		{[]storage.Write{at(12, 4), at(11, 5)}, 4},
		{[]storage.Write{at(13, 7), at(13, 6)}, 6}, // the later of a batch
		{[]storage.Write{at(-1, 8)}, 6},
	} {
		write(t, s, c.batch...)
		same(t, points(t, s, e, "k", always, false), []storage.Point{{Time: 1, Value: telemetry.OfLong(c.want)}})
		same(t, latest(t, s, e, nil), []storage.Entry{{KeyValue: long("k", c.want), Time: 1}})
	}
}

func latestRule(t *testing.T, s storage.Store, _ *Clock) {
	e := device()
	stamp := int64(0)
	at := func(time, value int64) storage.Write {
		stamp++
		return storage.Write{Entity: e, Time: time, Stamp: stamp, Values: []telemetry.KeyValue{long("k", value)}}
	}
	for _, c := range []struct {
		batch       []storage.Write
		time, value int64
	}{
		{[]storage.Write{at(100, 1)}, 100, 1},
		{[]storage.Write{at(99, 2)}, 100, 1},  // late
		{[]storage.Write{at(100, 3)}, 100, 3}, // equal replaces
		{[]storage.Write{at(102, 4), at(101, 5)}, 102, 4},
		{[]storage.Write{at(-1, 6), at(103, 7), at(103, 8)}, 103, 8},
	} {
		write(t, s, c.batch...)
		same(t, latest(t, s, e, nil), []storage.Entry{{KeyValue: long("k", c.value), Time: c.time}})
	}
	if err := s.DeleteLatest(t.Context(), e, []string{"k"}); err != nil {
		t.Fatal(err)
	}
	write(t, s, at(5, 9)) // nothing is left to be later than
	same(t, latest(t, s, e, nil), []storage.Entry{{KeyValue: long("k", 9), Time: 5}})
}

func scopes(t *testing.T, s storage.Store, _ *Clock) {
	e := device()
	all := []storage.Scope{storage.Client, storage.Shared, storage.Server, storage.RuleNode}
	for i, scope := range all {
		write(t, s, storage.Write{Entity: e, Scope: scope, Time: int64(i), Stamp: 1, Values: []telemetry.KeyValue{long("k", int64(i)), text("other", "x")}})
	}
	for i, scope := range all {
		want := []storage.Entry{{KeyValue: long("k", int64(i)), Time: int64(i)}, {KeyValue: text("other", "x"), Time: int64(i)}}
		same(t, attributes(t, s, e, scope, nil), want)
		same(t, attributes(t, s, e, scope, []string{"other", "missing", "k"}), want)
	}
	same(t, len(latest(t, s, e, nil)), 0)
	same(t, len(points(t, s, e, "k", always, false)), 0)
}

func attributeStamps(t *testing.T, s storage.Store, _ *Clock) {
	e := device()
	at := func(time, stamp, value int64) storage.Write {
		return storage.Write{Entity: e, Scope: storage.Shared, Time: time, Stamp: stamp, Values: []telemetry.KeyValue{long("k", value)}}
	}
	for _, c := range []struct {
		write       storage.Write
		time, value int64
	}{{at(5, 10, 1), 5, 1}, {at(9, 9, 2), 5, 1}, {at(3, 11, 3), 3, 3}, {at(4, 12, 0), 4, 0}} {
		write(t, s, c.write)
		same(t, attributes(t, s, e, storage.Shared, nil), []storage.Entry{{KeyValue: long("k", c.value), Time: c.time}})
	}
}

func replay(t *testing.T, s storage.Store, _ *Clock) {
	batch, want, e := series(20, 1000)
	batch = append(batch, storage.Write{Entity: e, Scope: storage.Client, Time: 3, Stamp: 50, Values: []telemetry.KeyValue{text("a", "x")}})
	write(t, s, batch...)
	for from := range batch {
		write(t, s, batch[from:]...)
		same(t, points(t, s, e, "k", always, false), want)
		same(t, latest(t, s, e, nil), []storage.Entry{{KeyValue: long("k", 19), Time: 19000}})
		same(t, attributes(t, s, e, storage.Client, nil), []storage.Entry{{KeyValue: text("a", "x"), Time: 3}})
	}
}

// orders writes the same values in several orders, each into a device of its own. The values are smaller the
// larger their stamps are, so that no backend passes by comparing them.
func orders(t *testing.T, s storage.Store, _ *Clock) {
	times := []int64{100, -5, 100, 7, 100, 99} // stamps 1, 2, …
	for _, order := range [][]int{{0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}, {4, 0, 5, 2, 1, 3}, {2, 4, 3, 0, 5, 1}, {1, 0, 4, 4, 2, 0, 3, 5, 1}} {
		e := device()
		for _, i := range order {
			values := []telemetry.KeyValue{long("k", int64(-i))}
			write(t, s, storage.Write{Entity: e, Time: times[i], Stamp: int64(i + 1), Values: values},
				storage.Write{Entity: e, Scope: storage.Shared, Time: times[i], Stamp: int64(i + 1), Values: values})
		}
		same(t, latest(t, s, e, nil), []storage.Entry{{KeyValue: long("k", -4), Time: 100}})
		same(t, attributes(t, s, e, storage.Shared, nil), []storage.Entry{{KeyValue: long("k", -5), Time: 99}})
		same(t, points(t, s, e, "k", storage.Span{Start: 100, End: 101}, false), []storage.Point{{Time: 100, Value: telemetry.OfLong(-4)}})
	}
}

// latestAfterDelete deletes latest values, again and again, and writes what is older than what was deleted.
func latestAfterDelete(t *testing.T, s storage.Store, _ *Clock) {
	e := device()
	stamp := int64(0)
	at := func(time, value int64) {
		t.Helper()
		stamp++
		write(t, s, storage.Write{Entity: e, Time: time, Stamp: stamp, Values: []telemetry.KeyValue{long("k", value), long("kept", stamp)}})
	}
	seen := func(time, value int64) {
		t.Helper()
		same(t, latest(t, s, e, []string{"k"}), []storage.Entry{{KeyValue: long("k", value), Time: time}})
	}
	at(math.MaxInt64-1, 1)
	for round := range int64(3) {
		if err := s.DeleteLatest(t.Context(), e, []string{"k", "never there"}); err != nil {
			t.Fatal(err)
		}
		same(t, len(latest(t, s, e, []string{"k"})), 0)
		at(100-round, 2)
		seen(100-round, 2)
		at(50-round, 3) // late
		seen(100-round, 2)
		at(100-round, -1) // equal replaces
		seen(100-round, -1)
	}
	same(t, latest(t, s, e, []string{"kept"}), []storage.Entry{{KeyValue: long("kept", 1), Time: math.MaxInt64 - 1}})
	if err := s.DeleteEntity(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	at(math.MinInt64, 4)
	same(t, latest(t, s, e, nil), []storage.Entry{{KeyValue: long("k", 4), Time: math.MinInt64}, {KeyValue: long("kept", stamp), Time: math.MinInt64}})
}
