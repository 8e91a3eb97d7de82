// Package history answers what people ask of an entity's past: points of a range, or one
// value per interval, over storage.Telemetry. Rows are streamed: whatever the range, memory is
// bounded by the answer. The rules are those of the REST API's aggregation table.
package history

import (
	"context"
	"fmt"
	"iter"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Aggregate names what becomes of the points of one interval.
type Aggregate string

// The aggregates; None returns the points as they are.
const (
	None  Aggregate = "NONE"
	Min   Aggregate = "MIN"
	Max   Aggregate = "MAX"
	Avg   Aggregate = "AVG"
	Sum   Aggregate = "SUM"
	Count Aggregate = "COUNT"
)

// ParseAggregate reads an aggregate's name; an empty text is None.
func ParseAggregate(text string) (Aggregate, error) {
	switch a := Aggregate(text); a {
	case "":
		return None, nil
	case None, Min, Max, Avg, Sum, Count:
		return a, nil
	}
	return None, fault.New(fault.Invalid, fmt.Sprintf("agg: unknown aggregate %q", text))
}

// Options bound what one query may cost.
type Options struct {
	// MaxIntervals is how many intervals a range may be cut into.
	MaxIntervals int
	// MaxPoints and MaxBytes end a read of raw points early, over all its keys, as a smaller limit would.
	MaxPoints int
	MaxBytes  int
}

// DefaultOptions are the bounds the settings start from.
func DefaultOptions() Options {
	return Options{MaxIntervals: 700, MaxPoints: 1_000_000, MaxBytes: 64 << 20}
}

// Query says which points of which series.
type Query struct {
	Keys   []string
	Within storage.Span
	// Aggregate and Interval: one value per interval; None, or no interval, returns raw points.
	Aggregate Aggregate
	Interval  Interval
	// Limit and NewestFirst are for raw points; Limit counts per key and must be positive.
	Limit       int
	NewestFirst bool
}

// Series is the answer for one key; Points may be empty.
type Series struct {
	Key    string
	Points []storage.Point
}

// Source is where points are read from; every storage.Telemetry is one.
type Source interface {
	Range(ctx context.Context, e ident.EntityID, key string, within storage.Span, newestFirst bool) iter.Seq2[storage.Point, error]
}

// Reader reads series. Safe for concurrent use.
type Reader struct {
	source Source
	bounds Options
}

// New returns a Reader of source.
func New(source Source, bounds Options) *Reader {
	return &Reader{source: source, bounds: bounds}
}

// Check returns why q cannot be answered: a fault.Invalid, or nil.
func (r *Reader) Check(q Query) error {
	if !q.aggregated() {
		if q.Limit < 1 {
			return fault.New(fault.Invalid, fmt.Sprintf("limit: %d is less than 1", q.Limit))
		}
		return nil
	}
	if q.Within.End < q.Within.Start {
		return fault.New(fault.Invalid, fmt.Sprintf("endTs: %d is before startTs %d", q.Within.End, q.Within.Start))
	}
	if n := q.Interval.estimate(q.Within); n > float64(r.bounds.MaxIntervals) {
		return fault.New(fault.Invalid, fmt.Sprintf("interval: the range has %.0f intervals, more than %d", n, r.bounds.MaxIntervals))
	}
	return nil
}

// Read answers q for every key, in the order asked for.
func (r *Reader) Read(ctx context.Context, e ident.EntityID, q Query) ([]Series, error) {
	if err := r.Check(q); err != nil {
		return nil, err
	}
	out := make([]Series, 0, len(q.Keys))
	left := budget{points: r.bounds.MaxPoints, bytes: r.bounds.MaxBytes}
	for _, key := range q.Keys {
		points, err := r.series(ctx, e, key, q, &left)
		if err != nil {
			return nil, fmt.Errorf("read series %q of %v: %w", key, e, err)
		}
		out = append(out, Series{Key: key, Points: points})
	}
	return out, nil
}

func (r *Reader) series(ctx context.Context, e ident.EntityID, key string, q Query, left *budget) ([]storage.Point, error) {
	if q.aggregated() {
		return r.aggregate(ctx, e, key, q)
	}
	points := []storage.Point{}
	for p, err := range r.source.Range(ctx, e, key, q.Within, q.NewestFirst) {
		if err != nil {
			return nil, err
		}
		if !left.take(p) {
			break
		}
		points = append(points, p)
		if len(points) == q.Limit {
			break
		}
	}
	return points, nil
}

// aggregate walks the points and the buckets side by side, both ascending.
func (r *Reader) aggregate(ctx context.Context, e ident.EntityID, key string, q Query) ([]storage.Point, error) {
	within := q.Within
	if within.End <= within.Start {
		within.End = within.Start + 1
	}
	points := []storage.Point{}
	var open tally
	bucket := q.Interval.first(within)
	for p, err := range r.source.Range(ctx, e, key, within, false) {
		if err != nil {
			return nil, err
		}
		for p.Time >= bucket.End {
			points = open.appendTo(points, q.Aggregate, bucket)
			open = tally{}
			bucket = q.Interval.holding(p.Time, bucket, within)
		}
		open.add(p.Value)
	}
	return open.appendTo(points, q.Aggregate, bucket), nil
}

func (q Query) aggregated() bool {
	return q.Aggregate != None && q.Aggregate != "" && q.Interval.set()
}

// budget is what a read of raw points may still take.
type budget struct{ points, bytes int }

// pointOverhead is about what a point costs besides its text.
const pointOverhead = 64

func (b *budget) take(p storage.Point) bool {
	cost := pointOverhead + len(p.Value.Text())
	if b.points < 1 || b.bytes < cost {
		return false
	}
	b.points--
	b.bytes -= cost
	return true
}

// middle is the time an interval's value is given: half way, rounded towards its start.
func middle(s storage.Span) int64 { return s.Start + (s.End-s.Start)/2 }
