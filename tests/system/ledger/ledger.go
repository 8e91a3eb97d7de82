// Package ledger keeps account of what devices sent and were acknowledged, and compares it
// with what a query later shows. It knows nothing of protocols or stores.
package ledger

import (
	"fmt"
	"sort"
	"sync"
)

// Device is the account of one device, which numbers its readings from 1. Safe for concurrent use.
type Device struct {
	Name    string
	OwnTime bool // its readings carry their own time, TimeOf(n)

	mu     sync.Mutex
	sends  map[int]int // reading → how often it was sent
	acked  map[int]bool
	next   int
	resent int
}

// firstTime is the own time of reading 0, in ms: some fixed moment, so that times are device time, not ours.
const firstTime = 1_700_000_000_000

// TimeOf returns the own time of reading n.
func TimeOf(n int) int64 { return firstTime + int64(n)*10 }

// NewDevice opens an account.
func NewDevice(name string, ownTime bool) *Device {
	return &Device{Name: name, OwnTime: ownTime, sends: map[int]int{}, acked: map[int]bool{}}
}

// Next returns the number of the next reading to send.
func (d *Device) Next() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next++
	return d.next
}

// Sending notes that reading n is about to be handed to the network, once more.
func (d *Device) Sending(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sends[n]++
	if d.sends[n] > 1 {
		d.resent++
	}
}

// Acknowledged notes that the platform acknowledged reading n.
func (d *Device) Acknowledged(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acked[n] = true
}

// AckedCount returns how many readings were acknowledged.
func (d *Device) AckedCount() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.acked)
}

// Row is one stored reading.
type Row struct {
	Time int64
	N    int
}

// Verdict is what came of a device's readings.
type Verdict struct {
	Sent, Acknowledged, Stored, Resent int
	Lost                               []int // acknowledged and not stored
	Duplicates                         int   // stored again
	Problems                           []string
}

// Check compares the account with rows, in any order.
func (d *Device) Check(rows []Row) Verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := Verdict{Sent: len(d.sends), Acknowledged: len(d.acked), Stored: len(rows), Resent: d.resent}
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].Time < rows[j].Time })
	seen := map[int]bool{}
	newest := 0
	for _, r := range rows {
		switch {
		case d.sends[r.N] == 0:
			v.problem("stored %d at %d, which was never sent", r.N, r.Time)
		case d.OwnTime && r.Time != TimeOf(r.N):
			v.problem("stored %d at %d, sent with %d", r.N, r.Time, TimeOf(r.N))
		}
		if seen[r.N] {
			v.Duplicates++
			continue
		}
		seen[r.N] = true
		if r.N < newest {
			v.problem("%d is stored after %d for the first time", r.N, newest)
		}
		newest = max(newest, r.N)
	}
	for n := range d.acked {
		if !seen[n] {
			v.Lost = append(v.Lost, n)
		}
	}
	sort.Ints(v.Lost)
	if len(v.Lost) > 0 {
		v.problem("%d acknowledged readings are not stored: %v", len(v.Lost), v.Lost[:min(len(v.Lost), 20)])
	}
	if d.OwnTime && v.Duplicates > 0 {
		v.problem("%d duplicates among readings with their own time", v.Duplicates)
	}
	if v.Duplicates > d.resent {
		v.problem("%d duplicates, and only %d resends", v.Duplicates, d.resent)
	}
	return v
}

func (v *Verdict) problem(format string, args ...any) {
	if len(v.Problems) < 10 {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

// Add sums two verdicts, for a total over devices.
func (v *Verdict) Add(o Verdict) {
	v.Sent += o.Sent
	v.Acknowledged += o.Acknowledged
	v.Stored += o.Stored
	v.Resent += o.Resent
	v.Duplicates += o.Duplicates
	v.Lost = append(v.Lost, o.Lost...)
}
