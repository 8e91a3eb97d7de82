package limit

import (
	"sync"
	"time"
)

// Name says which of a fleet's rates a bucket keeps.
type Name struct {
	Level byte // whose: 't' a tenant's, 'd' a device's
	ID    [16]byte
	Kind  byte // of what: 'm' messages, 't' telemetry, 'p' points
}

// Usage is what a bucket let pass since its ledger was last read.
type Usage struct {
	Name  Name
	Rate  Rate
	Spent float64 // below zero when more was returned than taken

	bucket *Bucket
}

// Ledger lists the buckets that were used since it was last read. Taking from a bucket lists it
// once per reading and costs nothing else. Tenants' buckets and devices' have a list each, so that
// many devices never push a tenant out; both are bounded. Safe for concurrent use.
type Ledger struct {
	most int

	mu               sync.Mutex
	tenants, devices []*Bucket
}

// NewLedger returns a Ledger that lists at most most tenants' buckets, and as many devices'.
// What finds no place keeps its count and is listed by a later Take.
func NewLedger(most int) *Ledger { return &Ledger{most: most} }

// add lists b unless its list is full.
func (l *Ledger) add(b *Bucket) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := &l.devices
	if b.name.Level == 't' {
		list = &l.tenants
	}
	if len(*list) >= l.most {
		return false
	}
	*list = append(*list, b)
	return true
}

// Read empties the ledger and returns what its buckets spent, tenants first. What is read and not
// settled is forgotten: each process then limits alone.
func (l *Ledger) Read() []Usage {
	l.mu.Lock()
	listed := append(l.tenants, l.devices...)
	l.tenants, l.devices = nil, nil
	l.mu.Unlock()
	usages := make([]Usage, 0, len(listed))
	for _, b := range listed {
		b.mu.Lock()
		usages = append(usages, Usage{Name: b.name, Rate: b.rate, Spent: b.spent, bucket: b})
		b.spent, b.listed = 0, false
		b.mu.Unlock()
	}
	return usages
}

// Settle tells u's bucket what is left for all processes together, one number per window of the
// rate; below zero it is a debt, and nothing passes until it is paid by refilling.
func (u *Usage) Settle(now time.Time, left []float64) {
	b := u.bucket
	if len(left) != len(b.rate) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	for i := range b.tokens {
		b.tokens[i] = min(b.tokens[i], left[i]-b.spent)
	}
}

// note counts n tokens taken, or given back. Only under b's lock.
func (b *Bucket) note(n float64) {
	if b.ledger == nil {
		return
	}
	b.spent += n
	if !b.listed {
		b.listed = b.ledger.add(b)
	}
}
