package history

import (
	"math"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// tally gathers the values of one interval, for every aggregate at once: which of them is
// asked for matters only in the end. Its size does not depend on how many values it has seen.
type tally struct {
	longs, doubles, bools, texts, jsons int64

	sumLong          int64
	overflowed       bool
	sumDouble        float64 // of the doubles, and of longs once their own sum overflowed
	minLong, maxLong int64
	minDbl, maxDbl   float64
	minText, maxText string
}

func (t *tally) add(v telemetry.Value) {
	switch v.Kind {
	case telemetry.Long:
		t.addLong(v.Long())
	case telemetry.Double:
		t.addDouble(v.Double())
	case telemetry.String:
		t.addText(v.Text())
	case telemetry.Bool:
		t.bools++
	case telemetry.JSON:
		t.jsons++
	}
}

func (t *tally) addLong(n int64) {
	if t.longs == 0 {
		t.minLong, t.maxLong = n, n
	}
	t.longs++
	t.minLong, t.maxLong = min(t.minLong, n), max(t.maxLong, n)
	sum := t.sumLong + n
	if (sum > t.sumLong) != (n > 0) && n != 0 {
		// A sum that does not fit goes on as a double instead of wrapping around.
		t.overflowed = true
		t.sumDouble += float64(t.sumLong)
		sum = n
	}
	t.sumLong = sum
}

func (t *tally) addDouble(f float64) {
	if t.doubles == 0 {
		t.minDbl, t.maxDbl = f, f
	}
	t.doubles++
	t.minDbl, t.maxDbl = math.Min(t.minDbl, f), math.Max(t.maxDbl, f)
	t.sumDouble += f
}

func (t *tally) addText(s string) {
	if t.texts == 0 {
		t.minText, t.maxText = s, s
	}
	t.texts++
	t.minText, t.maxText = min(t.minText, s), max(t.maxText, s)
}

// appendTo adds the interval's value, if it has one, to points.
func (t *tally) appendTo(points []storage.Point, a Aggregate, within storage.Span) []storage.Point {
	if v := t.value(a); v.Kind != telemetry.None {
		points = append(points, storage.Point{Time: middle(within), Value: v})
	}
	return points
}

func (t *tally) value(a Aggregate) telemetry.Value {
	switch a {
	case Avg:
		if n := t.longs + t.doubles; n > 0 {
			return telemetry.OfDouble((float64(t.sumLong) + t.sumDouble) / float64(n))
		}
	case Sum:
		return t.sum()
	case Min:
		return t.extreme(t.minLong, t.minDbl, t.minText, math.Min)
	case Max:
		return t.extreme(t.maxLong, t.maxDbl, t.maxText, math.Max)
	case Count:
		return t.count()
	}
	return telemetry.Value{}
}

func (t *tally) sum() telemetry.Value {
	switch {
	case t.longs+t.doubles == 0:
		return telemetry.Value{}
	case t.doubles == 0 && !t.overflowed:
		return telemetry.OfLong(t.sumLong)
	}
	return telemetry.OfDouble(float64(t.sumLong) + t.sumDouble)
}

// extreme returns the least or greatest number; without numbers, that of the texts. Booleans and JSON have none.
func (t *tally) extreme(long int64, double float64, text string, pick func(a, b float64) float64) telemetry.Value {
	switch {
	case t.longs > 0 && t.doubles > 0:
		return telemetry.OfDouble(pick(float64(long), double))
	case t.longs > 0:
		return telemetry.OfLong(long)
	case t.doubles > 0:
		return telemetry.OfDouble(double)
	case t.texts > 0:
		return telemetry.OfString(text)
	}
	return telemetry.Value{}
}

// count returns how many values of one type there are: of the booleans, else of the texts, of
// the JSON values, of the numbers. An interval of mixed types counts those of the first that occurs,
// as clients of this API have always seen it.
func (t *tally) count() telemetry.Value {
	for _, n := range [...]int64{t.bools, t.texts, t.jsons, t.longs + t.doubles} {
		if n > 0 {
			return telemetry.OfLong(n)
		}
	}
	return telemetry.Value{}
}
