package history_test

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// series is a source of one series, in order of time; it counts what was read of it.
type series struct {
	points []storage.Point
	read   int
	err    error
}

func (s *series) Range(_ context.Context, _ ident.EntityID, _ string, within storage.Span, newestFirst bool) iter.Seq2[storage.Point, error] {
	return func(yield func(storage.Point, error) bool) {
		points := slices.Clone(s.points)
		if newestFirst {
			slices.Reverse(points)
		}
		for _, p := range points {
			if p.Time < within.Start || p.Time >= within.End {
				continue
			}
			s.read++
			if !yield(p, nil) {
				return
			}
		}
		if s.err != nil {
			yield(storage.Point{}, s.err)
		}
	}
}

func at(t int64, v telemetry.Value) storage.Point { return storage.Point{Time: t, Value: v} }

var (
	long   = telemetry.OfLong
	double = telemetry.OfDouble
	text   = telemetry.OfString
	truth  = telemetry.OfBool
	nested = telemetry.OfJSON
)

func every(ms int64) history.Interval {
	return history.Interval{Unit: history.Milliseconds, Width: ms}
}

func ask(t *testing.T, s *series, q history.Query) []storage.Point {
	t.Helper()
	q.Keys = []string{"k"}
	found, err := history.New(s, history.DefaultOptions()).Read(t.Context(), ident.EntityID{}, q)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return found[0].Points
}

var sameValues = cmp.Options{cmp.Comparer(func(a, b telemetry.Value) bool { return a == b }), cmpopts.EquateEmpty()}

func TestRawPointsStopAtLimitAndBytes(t *testing.T) {
	s := &series{points: []storage.Point{at(1, long(1)), at(2, long(2)), at(3, long(3))}}
	got := ask(t, s, history.Query{Within: storage.Span{Start: 0, End: 9}, Limit: 2, NewestFirst: true})
	if diff := cmp.Diff([]storage.Point{at(3, long(3)), at(2, long(2))}, got, sameValues); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s.read != 2 {
		t.Errorf("%d points were read for a limit of 2", s.read)
	}
	bounded := history.New(s, history.Options{MaxIntervals: 700, MaxPoints: 4, MaxBytes: 1 << 20})
	found, err := bounded.Read(t.Context(), ident.EntityID{}, history.Query{Keys: []string{"a", "b"}, Within: storage.Span{Start: 0, End: 9}, Limit: 100})
	if err != nil || len(found[0].Points) != 3 || len(found[1].Points) != 1 {
		t.Errorf("four points over all keys: %v, %v", found, err)
	}
	bounded = history.New(s, history.Options{MaxIntervals: 700, MaxPoints: 100, MaxBytes: 130})
	found, err = bounded.Read(t.Context(), ident.EntityID{}, history.Query{Keys: []string{"a"}, Within: storage.Span{Start: 0, End: 9}, Limit: 100})
	if err != nil || len(found[0].Points) != 2 {
		t.Errorf("130 bytes: %v, %v", found, err)
	}
}

// TestAggregates is the table of value types of rest-api §5.
func TestAggregates(t *testing.T) {
	none := telemetry.Value{}
	for _, c := range []struct {
		name                     string
		values                   []telemetry.Value
		avg, sum, min, max, size telemetry.Value
	}{
		{"longs", []telemetry.Value{long(1), long(2), long(6)}, double(3), long(9), long(1), long(6), long(3)},
		{"doubles", []telemetry.Value{double(1.5), double(-2)}, double(-0.25), double(-0.5), double(-2), double(1.5), long(2)},
		{"long and double", []telemetry.Value{long(1), double(2.5)}, double(1.75), double(3.5), double(1), double(2.5), long(2)},
		{"texts", []telemetry.Value{text("b"), text("a"), text("c")}, none, none, text("a"), text("c"), long(3)},
		{"booleans", []telemetry.Value{truth(true), truth(false)}, none, none, none, none, long(2)},
		{"nested", []telemetry.Value{nested("{}")}, none, none, none, none, long(1)},
		{"mixed", []telemetry.Value{long(4), text("a"), text("b"), truth(true)}, double(4), long(4), long(4), long(4), long(1)},
		{"text and numbers", []telemetry.Value{long(4), text("a"), double(2)}, double(3), double(6), double(2), double(4), long(1)},
		{"overflow", []telemetry.Value{long(math.MaxInt64), long(math.MaxInt64)}, double(math.MaxInt64), double(2 * float64(math.MaxInt64)), long(math.MaxInt64), long(math.MaxInt64), long(2)},
		{"overflow below", []telemetry.Value{long(math.MinInt64), long(-1), long(1)}, double(math.MinInt64 / 3.0), double(math.MinInt64), long(math.MinInt64), long(1), long(3)},
		{"nothing", nil, none, none, none, none, none},
	} {
		s := &series{}
		for i, v := range c.values {
			s.points = append(s.points, at(int64(i), v))
		}
		for agg, want := range map[history.Aggregate]telemetry.Value{
			history.Avg: c.avg, history.Sum: c.sum, history.Min: c.min, history.Max: c.max, history.Count: c.size,
		} {
			var points []storage.Point
			if want != none {
				points = []storage.Point{at(50, want)}
			}
			got := ask(t, s, history.Query{Within: storage.Span{Start: 0, End: 100}, Aggregate: agg, Interval: every(100)})
			if diff := cmp.Diff(points, got, sameValues); diff != "" {
				t.Errorf("%s of %s (-want +got):\n%s", agg, c.name, diff)
			}
		}
	}
}

func TestIntervals(t *testing.T) {
	s := &series{}
	for _, ms := range []int64{3, 12, 13, 99, 104} {
		s.points = append(s.points, at(ms, long(1)))
	}
	for _, c := range []struct {
		name   string
		within storage.Span
		width  int64
		want   []storage.Point
	}{
		{
			"from the start, empty ones left out, the last clipped",
			storage.Span{Start: 3, End: 105},
			10,
			[]storage.Point{at(8, long(2)), at(18, long(1)), at(98, long(1)), at(104, long(1))},
		},
		{"wider than the range", storage.Span{Start: 0, End: 100}, 1000, []storage.Point{at(50, long(4))}},
		{"no range is one millisecond", storage.Span{Start: 12, End: 12}, 10, []storage.Point{at(12, long(1))}},
		{"nothing in it", storage.Span{Start: 20, End: 30}, 10, nil},
		{"negative times", storage.Span{Start: -7, End: 4}, 5, []storage.Point{at(3, long(1))}},
		{"as wide as can be", storage.Span{Start: 0, End: 100}, math.MaxInt64, []storage.Point{at(50, long(4))}},
	} {
		got := ask(t, s, history.Query{Within: c.within, Aggregate: history.Count, Interval: every(c.width)})
		if diff := cmp.Diff(c.want, got, sameValues); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	raw := ask(t, s, history.Query{Within: storage.Span{Start: 0, End: 200}, Aggregate: history.Avg, Limit: 1})
	if len(raw) != 1 {
		t.Errorf("without an interval there are raw points: %v", raw)
	}
}

func TestCalendarIntervals(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	date := func(month time.Month, day, hour int) int64 {
		return time.Date(2026, month, day, hour, 0, 0, 0, zone).UnixMilli()
	}
	// 2026-03-29 is a Sunday, on which clocks go forward.
	s := &series{points: []storage.Point{
		at(date(3, 27, 12), long(1)), at(date(3, 28, 23), long(1)), at(date(3, 29, 1), long(1)), at(date(3, 30, 1), long(1)),
		at(date(4, 1, 0), long(1)), at(date(7, 1, 0), long(1)),
	}}
	within := storage.Span{Start: date(3, 27, 0), End: date(7, 2, 0)}
	half := func(from, to int64) int64 { return from + (to-from)/2 }
	for unit, want := range map[history.Unit][]storage.Point{
		history.Week: {
			at(half(date(3, 27, 0), date(3, 29, 0)), long(2)), at(half(date(3, 29, 0), date(4, 5, 0)), long(3)), at(half(date(6, 28, 0), date(7, 2, 0)), long(1)),
		},
		history.WeekISO: {
			at(half(date(3, 27, 0), date(3, 30, 0)), long(3)), at(half(date(3, 30, 0), date(4, 6, 0)), long(2)), at(half(date(6, 29, 0), date(7, 2, 0)), long(1)),
		},
		history.Month: {
			at(half(date(3, 27, 0), date(4, 1, 0)), long(4)), at(half(date(4, 1, 0), date(5, 1, 0)), long(1)), at(half(date(7, 1, 0), date(7, 2, 0)), long(1)),
		},
		history.Quarter: {
			at(half(date(3, 27, 0), date(4, 1, 0)), long(4)), at(half(date(4, 1, 0), date(7, 1, 0)), long(1)), at(half(date(7, 1, 0), date(7, 2, 0)), long(1)),
		},
	} {
		interval, err := history.ParseInterval(string(unit), 0, "Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		got := ask(t, s, history.Query{Within: within, Aggregate: history.Count, Interval: interval})
		if diff := cmp.Diff(want, got, sameValues); diff != "" {
			t.Errorf("%s (-want +got):\n%s", unit, diff)
		}
	}
}

func TestRefusals(t *testing.T) {
	r := history.New(&series{}, history.DefaultOptions())
	for name, q := range map[string]history.Query{
		"no limit":        {Aggregate: history.None},
		"backwards":       {Aggregate: history.Avg, Interval: every(10), Within: storage.Span{Start: 2, End: 1}},
		"701 intervals":   {Aggregate: history.Avg, Interval: every(1000), Within: storage.Span{Start: 0, End: 701_000}},
		"below a second":  {Aggregate: history.Avg, Interval: every(1), Within: storage.Span{Start: 0, End: 701_000}},
		"all there is":    {Aggregate: history.Avg, Interval: every(1000), Within: storage.Span{Start: math.MinInt64, End: math.MaxInt64}},
		"too many weeks":  {Aggregate: history.Avg, Interval: history.Interval{Unit: history.Week, Zone: time.UTC}, Within: storage.Span{Start: 0, End: 701 * 7 * 86_400_000}},
		"too many months": {Aggregate: history.Avg, Interval: history.Interval{Unit: history.Month, Zone: time.UTC}, Within: storage.Span{Start: 0, End: math.MaxInt64}},
	} {
		if _, err := r.Read(t.Context(), ident.EntityID{}, q); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	if err := r.Check(history.Query{Aggregate: history.Avg, Interval: every(1000), Within: storage.Span{Start: 0, End: 700_000}}); err != nil {
		t.Errorf("700 intervals are refused: %v", err)
	}
	for _, bad := range []func() error{
		func() error { _, err := history.ParseAggregate("avg"); return err },
		func() error { _, err := history.ParseInterval("DAY", 1, ""); return err },
	} {
		if fault.KindOf(bad()) != fault.Invalid {
			t.Errorf("%v, want a refusal", bad())
		}
	}
}

func TestStoreErrorsReachTheCaller(t *testing.T) {
	broken := errors.New("broken")
	s := &series{points: []storage.Point{at(1, long(1))}, err: broken}
	for _, q := range []history.Query{
		{Keys: []string{"k"}, Within: storage.Span{Start: 0, End: 9}, Limit: 9},
		{Keys: []string{"k"}, Within: storage.Span{Start: 0, End: 9}, Aggregate: history.Avg, Interval: every(9)},
	} {
		if _, err := history.New(s, history.DefaultOptions()).Read(t.Context(), ident.EntityID{}, q); !errors.Is(err, broken) {
			t.Errorf("%v, want the store's error", err)
		}
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct {
		value        telemetry.Value
		text, strict string
	}{
		{long(73), `"73"`, `73`},
		{double(42), `"42.0"`, `42.0`},
		{double(0), `"0.0"`, `0.0`},
		{double(math.Copysign(0, -1)), `"-0.0"`, `-0.0`},
		{double(1e7), `"1.0E7"`, `1.0E7`},
		{double(9999999), `"9999999.0"`, `9999999.0`},
		{double(12345678.9), `"1.23456789E7"`, `1.23456789E7`},
		{double(1e-3), `"0.001"`, `0.001`},
		{double(1e-4), `"1.0E-4"`, `1.0E-4`},
		{double(-2.5e-10), `"-2.5E-10"`, `-2.5E-10`},
		{double(1.7976931348623157e308), `"1.7976931348623157E308"`, `1.7976931348623157E308`},
		{truth(true), `"true"`, `true`},
		{text(`a"b`), `"a\"b"`, `"a\"b"`},
		{text("\xff"), `"` + "\uFFFD" + `"`, `"` + "\uFFFD" + `"`},
		{nested(`{"a":1}`), `"{\"a\":1}"`, `{"a":1}`},
		{telemetry.Value{}, `null`, `null`},
	} {
		if got := string(history.AppendText(nil, c.value)); got != c.text {
			t.Errorf("text %s, want %s", got, c.text)
		}
		if got := string(history.AppendStrict(nil, c.value)); got != c.strict {
			t.Errorf("strict %s, want %s", got, c.strict)
		}
	}
	if got := history.Text(double(1.5)); got != "1.5" {
		t.Errorf("Text is %q", got)
	}
}

func BenchmarkAggregate(b *testing.B) {
	s := &series{}
	for i := range int64(100_000) {
		s.points = append(s.points, at(i*1000, double(float64(i))))
	}
	r := history.New(s, history.DefaultOptions())
	q := history.Query{Keys: []string{"k"}, Within: storage.Span{Start: 0, End: 100_000_000}, Aggregate: history.Avg, Interval: every(1_000_000)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Read(b.Context(), ident.EntityID{}, q); err != nil {
			b.Fatal(err)
		}
	}
}
