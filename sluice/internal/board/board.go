// Package board shows on a terminal what arrives: the latest value of every series a tenant's
// WebSocket reports, and how many readings were acknowledged, stored and dead-lettered.
package board

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// maxSeries bounds the series remembered; those that come later are not shown.
const maxSeries = 1000

// series names one row.
type series struct{ device, key string }

// row is the latest value of a series.
type row struct {
	series
	value string
	time  time.Time // of the reading
	fresh bool      // not yet taken by changed
}

// Board keeps the latest values. Safe for concurrent use. The zero Board is empty.
type Board struct {
	mu     sync.Mutex
	latest map[series]row
}

// Show puts a value on the board. A reading older than the one shown is left out.
func (b *Board) Show(device, key, value string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.latest == nil {
		b.latest = map[series]row{}
	}
	name := series{device, key}
	shown, known := b.latest[name]
	if !known && len(b.latest) >= maxSeries || at.Before(shown.time) {
		return
	}
	b.latest[name] = row{series: name, value: value, time: at, fresh: true}
}

// rows returns all rows by device and key.
func (b *Board) rows() []row {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]row, 0, len(b.latest))
	for _, r := range b.latest {
		all = append(all, r)
	}
	return sorted(all)
}

// changed returns the rows that changed since it was called last.
func (b *Board) changed() []row {
	b.mu.Lock()
	defer b.mu.Unlock()
	var fresh []row
	for name, r := range b.latest {
		if r.fresh {
			fresh = append(fresh, r)
			r.fresh = false
			b.latest[name] = r
		}
	}
	return sorted(fresh)
}

func sorted(rows []row) []row {
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.device, b.device), cmp.Compare(a.key, b.key))
	})
	return rows
}
