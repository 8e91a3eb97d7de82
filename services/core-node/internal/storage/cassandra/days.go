package cassandra

import (
	"math"
	"sync"

	"github.com/sluice-iot/sluice/proto/ident"
)

// never is the expiry of what is kept.
const never = math.MaxInt64

// entityDay is one row of the directory: entity has history in day that lives until then.
type entityDay struct {
	entity ident.EntityID
	day    int64
	until  int64
}

// days remembers what is in the directory, so that a row is written there once and not with every
// message. It forgets the half not seen for longest when full: what it forgot is written again, harmlessly.
type days struct {
	limit int

	mu         sync.Mutex
	young, old map[entityDay]struct{}
}

func newDays(limit int) *days {
	return &days{limit: max(limit/2, 1), young: map[entityDay]struct{}{}, old: map[entityDay]struct{}{}}
}

// known reports whether the directory has the row.
func (d *days) known(of entityDay) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.young[of]; ok {
		return true
	}
	_, ok := d.old[of]
	if ok {
		d.put(of)
	}
	return ok
}

// recorded notes what the directory now has.
func (d *days) recorded(of entityDay) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put(of)
}

func (d *days) put(of entityDay) {
	if len(d.young) >= d.limit {
		d.old, d.young = d.young, make(map[entityDay]struct{})
	}
	d.young[of] = struct{}{}
}

func (d *days) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.young)
	clear(d.old)
}

// roundUp keeps a day whose rows live for a time from getting a row of the directory with every
// message: an entry is a day or less above what it has to be.
func roundUp(expiry int64) int64 {
	if expiry > never-dayMillis {
		return never
	}
	return (expiry/dayMillis + 1) * dayMillis
}
