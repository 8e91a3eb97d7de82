package history

import (
	"fmt"
	"math"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Unit is what an Interval is counted in.
type Unit string

// The units. Milliseconds is of fixed width; the others follow the calendar of a zone.
const (
	Milliseconds Unit = "MILLISECONDS"
	Week         Unit = "WEEK"     // from Sunday
	WeekISO      Unit = "WEEK_ISO" // from Monday
	Month        Unit = "MONTH"
	Quarter      Unit = "QUARTER"
)

// Interval is how a range is cut: every Width ms from its start, or at the borders of the
// calendar's units in Zone, the first piece being what is left of the first unit.
type Interval struct {
	Unit  Unit
	Width int64 // ms; Milliseconds only
	Zone  *time.Location
}

// ParseInterval reads intervalType, interval and timeZone as the REST API has them. A zone that
// is empty or unknown is the server's.
func ParseInterval(unit string, width int64, zone string) (Interval, error) {
	i := Interval{Unit: Unit(unit), Width: width, Zone: time.Local}
	switch i.Unit {
	case "":
		i.Unit = Milliseconds
	case Milliseconds, Week, WeekISO, Month, Quarter:
	default:
		return Interval{}, fault.New(fault.Invalid, fmt.Sprintf("intervalType: unknown type %q", unit))
	}
	if zone != "" {
		if location, err := time.LoadLocation(zone); err == nil {
			i.Zone = location
		}
	}
	return i, nil
}

func (i Interval) set() bool { return i.calendar() || i.Width >= 1 }

func (i Interval) calendar() bool { return i.Unit != Milliseconds && i.Unit != "" }

// shortest is the width below which intervals are counted as if they were that wide.
const shortest = 1000

const day = float64(24 * time.Hour / time.Millisecond)

// estimate returns how many intervals there are in a range.
func (i Interval) estimate(within storage.Span) float64 {
	length := float64(within.End) - float64(within.Start)
	switch i.Unit {
	case Week, WeekISO:
		return math.Floor(length / (7 * day))
	case Month:
		return math.Floor(length / (30 * day))
	case Quarter:
		return math.Floor(length / (91 * day))
	}
	return math.Floor(length / float64(max(i.Width, shortest)))
}

// first returns the first interval of a range.
func (i Interval) first(within storage.Span) storage.Span {
	return storage.Span{Start: within.Start, End: min(i.next(within.Start), within.End)}
}

// holding returns the interval of the range that t falls into, t being after last.
func (i Interval) holding(t int64, last, within storage.Span) storage.Span {
	start := last.End
	if i.calendar() {
		start = max(start, i.unitStart(t))
	} else {
		start += (t - start) / i.Width * i.Width
	}
	return storage.Span{Start: start, End: min(i.next(start), within.End)}
}

// next returns where the interval beginning at start ends.
func (i Interval) next(start int64) int64 {
	if !i.calendar() {
		if start > math.MaxInt64-i.Width {
			return math.MaxInt64
		}
		return start + i.Width
	}
	begin := time.UnixMilli(i.unitStart(start)).In(i.Zone)
	switch i.Unit {
	case Month:
		return begin.AddDate(0, 1, 0).UnixMilli()
	case Quarter:
		return begin.AddDate(0, 3, 0).UnixMilli()
	}
	return begin.AddDate(0, 0, 7).UnixMilli()
}

// unitStart returns where the calendar unit that t falls into begins.
func (i Interval) unitStart(t int64) int64 {
	at := time.UnixMilli(t).In(i.Zone)
	year, month, date := at.Date()
	switch i.Unit {
	case Month:
		date = 1
	case Quarter:
		month, date = (month-1)/3*3+1, 1
	case WeekISO:
		date -= (int(at.Weekday()) + 6) % 7
	default:
		date -= int(at.Weekday())
	}
	return time.Date(year, month, date, 0, 0, 0, 0, i.Zone).UnixMilli()
}
