package ingest

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// TestAPlaceIsTheEarliestsAndOutlivesItsOwner: of messages that a node keeps for itself in one place there is one, the earliest,
// also under another owner.
func TestAPlaceIsTheEarliestsAndOutlivesItsOwner(t *testing.T) {
	rows := newWorld(t).rows
	timers := newTimers(rows, 0, 2)
	began, place := time.UnixMilli(1_800_000_000_000), ident.New()
	owner := func() {
		timers = newTimers(rows, 0, 2)
		if err := timers.load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	keep := func(after time.Duration) {
		t.Helper()
		o := rule.Onward{At: began.Add(after), Place: place, Yields: true, Message: &rule.Message{Body: rule.TextBody(after.String())}}
		if err := timers.keep(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(after time.Duration) {
		t.Helper()
		if one, there := timers.placed(place); !there || one.due != began.Add(after).UnixMilli() || len(timers.queue) != 1 {
			t.Errorf("the place has %+v, %v; %d wait", one, there, len(timers.queue))
		}
		found := 0
		for hour := range rows.ScanRows(t.Context(), timers.directory(), nil, nil, false) {
			for range rows.ScanRows(t.Context(), timers.group(int64(binary.BigEndian.Uint64(hour.Key))*hourMillis), nil, nil, false) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d rows", found)
		}
	}
	keep(5 * time.Hour)
	holds(5 * time.Hour)
	keep(7 * time.Hour)
	holds(5 * time.Hour)
	owner()
	holds(5 * time.Hour)
	keep(6 * time.Hour)
	holds(5 * time.Hour)
	for range 5 { // nothing is left of those that gave way
		keep(time.Minute)
		holds(time.Minute)
		rung := timers.take(began.Add(time.Hour), 10)
		if len(rung) != 1 {
			t.Fatalf("%d rang", len(rung))
		}
		keep(3 * time.Hour)
		if err := timers.remove(t.Context(), rung); err != nil {
			t.Fatal(err)
		}
		holds(3 * time.Hour)
		owner()
	}
	if err := timers.remove(t.Context(), timers.take(began.Add(9*time.Hour), 10)); err != nil {
		t.Fatal(err)
	}
	owner()
	if len(timers.queue)+len(timers.places) != 0 {
		t.Errorf("%d wait, %d places", len(timers.queue), len(timers.places))
	}
}

// TestOneOfTwoInAPlaceIsTheEarlier: a kill between the storing of one and the removal of the other leaves both. Both ring.
func TestOneOfTwoInAPlaceIsTheEarlier(t *testing.T) {
	for _, order := range [][]int64{{1000, 2000}, {2000, 1000}} {
		timers, place := newTimers(nil, 0, 2), ident.New()
		for _, due := range order {
			timers.add(timer{due, ident.New(), place})
		}
		if one, there := timers.placed(place); !there || one.due != 1000 {
			t.Errorf("%v: %+v has the place", order, one)
		}
		if rung := timers.take(time.UnixMilli(3000), 10); len(rung) != 2 || len(timers.places) != 0 {
			t.Errorf("%v: %d rang, %d places", order, len(rung), len(timers.places))
		}
	}
}
