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
		{[]storage.Write{at(10, 3)}, 3},
		{[]storage.Write{at(11, 4), at(10, 5)}, 4},
		{[]storage.Write{at(12, 6), at(12, 7)}, 7},
		{[]storage.Write{at(-1, 8)}, 7},
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
	all := []storage.Scope{storage.Client, storage.Shared, storage.Server}
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
	}{{at(5, 10, 1), 5, 1}, {at(9, 9, 2), 5, 1}, {at(3, 11, 3), 3, 3}, {at(4, 11, 4), 4, 4}} {
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
