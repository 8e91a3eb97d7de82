package pebble

import (
	"math"
	"sync"

	"github.com/sluice-iot/sluice/proto/ident"
)

const (
	never      = math.MaxInt64
	hourMillis = 60 * 60 * 1000
)

// entityDay names one day of one entity.
type entityDay struct {
	entity ident.EntityID
	day    day
}

// days remembers which entity's days are in the directory, and until when their rows live as far
// as the directory knows; so that a day is written there once and not with every message. It
// forgets the half not seen for longest when full: what it forgot is written again, harmlessly.
type days struct {
	limit int

	mu         sync.Mutex
	young, old map[entityDay]int64
}

func newDays(limit int) *days {
	return &days{limit: max(limit/2, 1), young: map[entityDay]int64{}, old: map[entityDay]int64{}}
}

// known reports whether the directory has the day with an expiry no earlier than expiry.
func (d *days) known(of entityDay, expiry int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	recorded, ok := d.young[of]
	if !ok {
		if recorded, ok = d.old[of]; !ok {
			return false
		}
		d.put(of, recorded)
	}
	return recorded >= expiry
}

// recorded notes what the directory now has.
func (d *days) recorded(marks map[entityDay]int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for of, expiry := range marks {
		d.put(of, max(expiry, d.young[of], d.old[of]))
	}
}

func (d *days) put(of entityDay, expiry int64) {
	if len(d.young) >= d.limit {
		d.old, d.young = d.young, make(map[entityDay]int64, len(d.young))
	}
	d.young[of] = expiry
}

// forget drops everything; it is called, rarely, after directory entries were removed.
func (d *days) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.young)
	clear(d.old)
}

// roundUp keeps a day whose rows live for a time from being recorded anew with every row: an
// entry is an hour or less above what it has to be.
func roundUp(expiry int64) int64 {
	if expiry > never-hourMillis {
		return never
	}
	return (expiry/hourMillis + 1) * hourMillis
}
