package storagetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

const day = 24 * 60 * 60 * 1000

var always = storage.Span{Start: math.MinInt64, End: math.MaxInt64}

var exact = cmp.Options{
	cmp.Comparer(func(a, b telemetry.Value) bool { return a == b }),
	cmp.Comparer(func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }),
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, exact); diff != "" {
		t.Errorf("unexpected (-want +got):\n%s", diff)
	}
}

// Telemetry holds a backend to storage.Telemetry.
func Telemetry(t *testing.T, b Backend) {
	tests := map[string]func(*testing.T, storage.Store, *Clock){
		"every kind of value comes back":                   kinds,
		"ranges include their start and exclude their end": ranges,
		"points come in order of time, over many days":     orderOverDays,
		"any time there is can be stored":                  extremeTimes,
		"keys are any text":                                keys,
		"expired rows are invisible":                       expiry,
		"a row written again lives as long as its last":    expiryRenewed,
		"the larger stamp wins a cell":                     stamps,
		"the larger time is latest":                        latestRule,
		"attributes keep their scope":                      scopes,
		"the larger stamp wins an attribute":               attributeStamps,
		"a replay changes nothing":                         replay,
		"the order of arrival decides nothing":             orders,
		"what is older than a deleted latest value":        latestAfterDelete,
		"history and latest can be left out":               skips,
		"invalid batches store nothing":                    invalid,
		"deleting removes what was named":                  deletes,
		"deleting an entity leaves the others":             deleteEntity,
		"big values":                                       bigValues,
		"long series are read in part and by interval":     longSeries,
		"cancelled contexts":                               cancelled,
		"writers side by side":                             sideBySide,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			clock := NewClock()
			test(t, b.Open(t, clock.Now), clock)
		})
	}
}

func kinds(t *testing.T, s storage.Store, _ *Clock) {
	e := device()
	values := []telemetry.KeyValue{
		{Key: "bool", Value: telemetry.OfBool(true)},
		{Key: "double", Value: telemetry.OfDouble(-0.1)},
		{Key: "empty", Value: telemetry.OfString("")},
		{Key: "infinite", Value: telemetry.OfDouble(math.Inf(-1))},
		{Key: "json", Value: telemetry.OfJSON(`{"a":[1,2]}`)},
		{Key: "long", Value: telemetry.OfLong(math.MinInt64)},
		{Key: "no", Value: telemetry.OfBool(false)},
		{Key: "text", Value: telemetry.OfString("wörter\x00")},
	}
	write(t, s, storage.Write{Entity: e, Time: 5, Stamp: 1, Values: values},
		storage.Write{Entity: e, Scope: storage.Server, Time: 7, Stamp: 1, Values: values})
	var stored, attributed []storage.Entry
	for _, v := range values {
		same(t, points(t, s, e, v.Key, always, false), []storage.Point{{Time: 5, Value: v.Value}})
		stored = append(stored, storage.Entry{KeyValue: v, Time: 5})
		attributed = append(attributed, storage.Entry{KeyValue: v, Time: 7})
	}
	same(t, latest(t, s, e, nil), stored)
	same(t, attributes(t, s, e, storage.Server, nil), attributed)
	same(t, latest(t, s, e, []string{"text", "none", "bool", "text"}), []storage.Entry{stored[0], stored[7]})
	same(t, len(latest(t, s, e, []string{})), 0)
}

func series(n int, step int64) (batch []storage.Write, want []storage.Point, e ident.EntityID) {
	e = device()
	for i := range int64(n) {
		batch = append(batch, storage.Write{Entity: e, Time: i * step, Stamp: i + 1, Values: []telemetry.KeyValue{long("k", i)}})
		want = append(want, storage.Point{Time: i * step, Value: telemetry.OfLong(i)})
	}
	return batch, want, e
}

func reversed(points []storage.Point) []storage.Point {
	r := make([]storage.Point, 0, len(points))
	for i := len(points) - 1; i >= 0; i-- {
		r = append(r, points[i])
	}
	return r
}

func ranges(t *testing.T, s storage.Store, _ *Clock) {
	batch, want, e := series(5, 10)
	write(t, s, batch...)
	for _, c := range []struct {
		within   storage.Span
		from, to int
	}{
		{storage.Span{Start: 0, End: 50}, 0, 5},
		{storage.Span{Start: 10, End: 30}, 1, 3},
		{storage.Span{Start: 11, End: 31}, 2, 4},
		{storage.Span{Start: 10, End: 11}, 1, 2},
		{storage.Span{Start: 11, End: 12}, 2, 2},
		{storage.Span{Start: 20, End: 20}, 2, 2},
		{storage.Span{Start: 30, End: 10}, 2, 2},
		{storage.Span{Start: -5, End: 1}, 0, 1},
		{always, 0, 5},
	} {
		same(t, points(t, s, e, "k", c.within, false), want[c.from:c.to])
		same(t, points(t, s, e, "k", c.within, true), reversed(want[c.from:c.to]))
	}
	same(t, len(points(t, s, e, "other", always, false)), 0)
	same(t, len(points(t, s, device(), "k", always, false)), 0)
}

func orderOverDays(t *testing.T, s storage.Store, _ *Clock) {
	batch, want, e := series(40, day/4+1)
	for i := range batch { // stored in another order than that of time
		write(t, s, batch[(i*7)%len(batch)])
	}
	same(t, points(t, s, e, "k", always, false), want)
	same(t, points(t, s, e, "k", always, true), reversed(want))
	within := storage.Span{Start: want[3].Time, End: want[21].Time}
	same(t, points(t, s, e, "k", within, true), reversed(want[3:21]))
}

func extremeTimes(t *testing.T, s storage.Store, _ *Clock) {
	e := device()
	var want []storage.Point
	for i, at := range []int64{math.MinInt64, -day - 1, -day, -1, 0, day - 1, day, math.MaxInt64 - 1} {
		write(t, s, storage.Write{Entity: e, Time: at, Stamp: 1, Values: []telemetry.KeyValue{long("k", int64(i))}})
		want = append(want, storage.Point{Time: at, Value: telemetry.OfLong(int64(i))})
	}
	same(t, points(t, s, e, "k", always, false), want)
	same(t, latest(t, s, e, nil), []storage.Entry{{KeyValue: long("k", 7), Time: math.MaxInt64 - 1}})
}

func keys(t *testing.T, s storage.Store, _ *Clock) {
	e := device()
	names := []string{"\x00", "\x00\x01", "\x00\xff", "a", "a\x00", "a\x00\x01b", "a\x01", "aa", "ä", "\xff"}
	var want []storage.Entry
	for i, name := range names {
		write(t, s, storage.Write{Entity: e, Time: 1, Stamp: 1, Values: []telemetry.KeyValue{long(name, int64(i))}})
		want = append(want, storage.Entry{KeyValue: long(name, int64(i)), Time: 1})
	}
	same(t, latest(t, s, e, nil), want)
	for i, name := range names {
		same(t, points(t, s, e, name, always, false), []storage.Point{{Time: 1, Value: telemetry.OfLong(int64(i))}})
	}
}

func skips(t *testing.T, s storage.Store, _ *Clock) {
	e := device()
	write(t, s,
		storage.Write{Entity: e, Time: 1, Stamp: 1, SkipHistory: true, Values: []telemetry.KeyValue{long("latest", 1)}},
		storage.Write{Entity: e, Time: 1, Stamp: 1, SkipLatest: true, Values: []telemetry.KeyValue{long("history", 1)}},
		storage.Write{Entity: e, Time: 1, Stamp: 1})
	same(t, latest(t, s, e, nil), []storage.Entry{{KeyValue: long("latest", 1), Time: 1}})
	same(t, len(points(t, s, e, "latest", always, false)), 0)
	same(t, len(points(t, s, e, "history", always, false)), 1)
	write(t, s)
}

func invalid(t *testing.T, s storage.Store, _ *Clock) {
	e := device()
	good := storage.Write{Entity: e, Time: 1, Stamp: 1, Values: []telemetry.KeyValue{long("k", 1)}}
	for name, bad := range map[string]storage.Write{
		"no value":     {Entity: e, Values: []telemetry.KeyValue{{Key: "k"}}},
		"no key":       {Entity: e, Values: []telemetry.KeyValue{long("", 1)}},
		"long key":     {Entity: e, Values: []telemetry.KeyValue{long(strings.Repeat("k", 1<<16), 1)}},
		"scope":        {Entity: e, Scope: 17, Values: good.Values},
		"time to live": {Entity: e, TTL: -1, Values: good.Values},
		"huge value":   {Entity: e, Values: []telemetry.KeyValue{text("k", strings.Repeat("x", 16<<20))}},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, s.Write(t.Context(), []storage.Write{good, bad}), storage.ErrInvalid)
			same(t, len(latest(t, s, e, nil)), 0)
		})
	}
}

func deletes(t *testing.T, s storage.Store, _ *Clock) {
	batch, want, e := series(6, day/2)
	write(t, s, batch...)
	write(t, s, storage.Write{Entity: e, Time: 0, Stamp: 1, Values: []telemetry.KeyValue{long("k2", 1), long("k\x00", 1)}})
	write(t, s, storage.Write{Entity: e, Scope: storage.Shared, Time: 0, Stamp: 1, Values: []telemetry.KeyValue{long("k", 1), long("k2", 1)}})
	within := storage.Span{Start: want[1].Time, End: want[4].Time}
	for _, err := range []error{
		s.DeleteSeries(t.Context(), e, []string{"k"}, within),
		s.DeleteSeries(t.Context(), e, nil, always),
		s.DeleteSeries(t.Context(), e, []string{"k2"}, storage.Span{Start: 5, End: 1}),
		s.DeleteLatest(t.Context(), e, []string{"k2", "missing"}),
		s.DeleteLatest(t.Context(), e, nil),
		s.DeleteAttributes(t.Context(), e, storage.Shared, []string{"k"}),
		s.DeleteAttributes(t.Context(), e, storage.Server, []string{"k2"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	same(t, points(t, s, e, "k", always, false), append(append([]storage.Point{}, want[0]), want[4:]...))
	same(t, len(points(t, s, e, "k2", always, false)), 1)
	same(t, len(points(t, s, e, "k\x00", always, false)), 1)
	same(t, latest(t, s, e, nil), []storage.Entry{{KeyValue: long("k", 5), Time: want[5].Time}, {KeyValue: long("k\x00", 1)}})
	same(t, attributes(t, s, e, storage.Shared, nil), []storage.Entry{{KeyValue: long("k2", 1)}})
	for i := range batch { // what was deleted can be written again
		batch[i].Stamp += int64(len(batch))
	}
	write(t, s, batch...)
	same(t, points(t, s, e, "k", always, false), want)
}

func deleteEntity(t *testing.T, s storage.Store, _ *Clock) {
	e, other := device(), device()
	batch := func(e ident.EntityID, stamp int64) []storage.Write {
		return []storage.Write{
			{Entity: e, Time: 1, Stamp: stamp, Values: []telemetry.KeyValue{long("k", 1)}},
			{Entity: e, Scope: storage.Server, Time: 1, Stamp: stamp, Values: []telemetry.KeyValue{long("k", 1)}},
		}
	}
	count := func(e ident.EntityID) int {
		return len(points(t, s, e, "k", always, false)) + len(latest(t, s, e, nil)) + len(attributes(t, s, e, storage.Server, nil))
	}
	write(t, s, append(batch(e, 1), batch(other, 1)...)...)
	if err := s.DeleteEntity(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	same(t, count(e), 0)
	same(t, count(other), 3)
	write(t, s, batch(e, 2)...)
	same(t, count(e), 3)
}

func bigValues(t *testing.T, s storage.Store, _ *Clock) {
	e := device()
	big := text("k", strings.Repeat("0123456789abcdef", 16<<10))
	for i := range int64(20) { // more than a table in memory holds
		write(t, s, storage.Write{Entity: e, Time: i, Stamp: 1, Values: []telemetry.KeyValue{big}})
	}
	same(t, latest(t, s, e, nil), []storage.Entry{{KeyValue: big, Time: 19}})
	n := 0
	for p, err := range s.Range(t.Context(), e, "k", always, true) {
		if err != nil {
			t.Fatal(err)
		}
		if p.Value != big.Value {
			t.Fatalf("value at %d is not what was stored", p.Time)
		}
		n++
	}
	same(t, n, 20)
}

func longSeries(t *testing.T, s storage.Store, _ *Clock) {
	const minute = 60_000
	batch, want, e := series(7000, minute)
	for i := range batch {
		batch[i].Values = append(batch[i].Values, long("beside", 1))
	}
	write(t, s, batch...)
	// As an aggregation of 700 intervals reads it: every point once, interval by interval.
	n := 0
	for i := range int64(700) {
		n += len(points(t, s, e, "k", storage.Span{Start: i * 10 * minute, End: (i + 1) * 10 * minute}, false))
	}
	same(t, n, len(want))
	newest := []storage.Point{}
	for p, err := range s.Range(t.Context(), e, "k", always, true) {
		if err != nil {
			t.Fatal(err)
		}
		if newest = append(newest, p); len(newest) == 100 {
			break
		}
	}
	same(t, newest, reversed(want)[:100])
}

func cancelled(t *testing.T, s storage.Store, _ *Clock) {
	batch, _, e := series(5000, 1)
	write(t, s, batch...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for _, err := range s.Range(ctx, e, "k", always, false) {
		if last = err; err != nil {
			break
		}
		if n++; n == 10 {
			cancel()
		}
	}
	wantError(t, last, context.Canceled)
	wantError(t, s.Write(ctx, batch[:1]), context.Canceled)
	_, err := s.Latest(ctx, e, nil)
	wantError(t, err, context.Canceled)
	_, err = s.Attributes(ctx, e, storage.Client, []string{"k"})
	wantError(t, err, context.Canceled)
	for _, err := range []error{s.DeleteSeries(ctx, e, []string{"k"}, always), s.DeleteLatest(ctx, e, []string{"k"}), s.DeleteEntity(ctx, e)} {
		wantError(t, err, context.Canceled)
	}
	same(t, len(points(t, s, e, "k", always, false)), 5000)
}

func sideBySide(t *testing.T, s storage.Store, _ *Clock) {
	const writers, batches = 4, 25
	e := device()
	failed := make(chan error, writers)
	for w := range int64(writers) {
		go func() {
			var err error
			for i := range int64(batches) {
				err = errors.Join(err, s.Write(t.Context(), []storage.Write{{
					Entity: e, Time: i, Stamp: w + 1, TTL: time.Hour,
					Values: []telemetry.KeyValue{long("shared", w), long(strconv.FormatInt(w, 10), i)},
				}}))
			}
			failed <- err
		}()
	}
	for range writers {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range points(t, s, e, "shared", always, false) {
		same(t, p.Value, telemetry.OfLong(writers-1))
	}
	for w := range writers {
		same(t, len(points(t, s, e, strconv.Itoa(w), always, false)), batches)
	}
}
