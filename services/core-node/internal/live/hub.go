package live

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Hub connects those who save with those who watch, within one process. It costs those who
// save one atomic read while nobody watches anything, and a look-up per save otherwise. Whoever
// lets outsiders watch bounds how many may. Safe for concurrent use; the zero Hub is not: use NewHub.
type Hub struct {
	watches atomic.Int64
	mu      sync.RWMutex
	byID    map[ident.EntityID][]*watch
}

type watch struct {
	mu      sync.Mutex // deliver is never called concurrently
	deliver func(Update)
	// newest is the largest time of time series told; sound is what it was at turned, or at first, which is long enough ago
	// that nothing older can be missing now.
	newest, sound int64
	turned        time.Time
	// fresh is what was told since catching up began; nil outside of it.
	fresh map[cell]news
}

// news is what was told of a cell since catching up began.
type news int

const (
	saved news = iota + 1
	deleted
)

// cell is one attribute, or one time of a series; anyTime is the series.
type cell struct {
	scope storage.Scope
	key   string
	time  int64
}

const anyTime = math.MinInt64

// cells are the two by which a value is found again.
func cells(u Update, key string) (exact, whole cell) {
	whole = cell{u.Scope, key, anyTime}
	if u.Scope != storage.Timeseries {
		return whole, whole
	}
	return cell{u.Scope, key, u.Time}, whole
}

// NewHub returns a Hub nobody watches yet.
func NewHub() *Hub { return &Hub{byID: map[ident.EntityID][]*watch{}} }

// Watch implements Subscriber. A delivery that began before stop was called may end after it.
func (h *Hub) Watch(e ident.EntityID, deliver func(Update)) (stop func()) {
	w := &watch{deliver: deliver}
	h.mu.Lock()
	h.byID[e] = append(slices.Clip(h.byID[e]), w)
	h.mu.Unlock()
	h.watches.Add(1)
	return sync.OnceFunc(func() { h.forget(e, w) })
}

// Settle implements Subscriber: who saves in this process finds a watch at once.
func (h *Hub) Settle(context.Context, ident.EntityID) error { return nil }

func (h *Hub) forget(e ident.EntityID, w *watch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// A new slice, because Publish may be walking the old one.
	left := slices.DeleteFunc(slices.Clone(h.byID[e]), func(o *watch) bool { return o == w })
	if len(left) == 0 {
		delete(h.byID, e)
	} else {
		h.byID[e] = left
	}
	h.watches.Add(-1)
}

// Watched reports whether anyone watches e, so that an update nobody wants need not be made.
func (h *Hub) Watched(e ident.EntityID) bool {
	return h.watches.Load() != 0 && len(h.of(e)) != 0
}

// Publish implements Publisher.
func (h *Hub) Publish(updates []Update) {
	if h.watches.Load() == 0 {
		return
	}
	for _, u := range updates {
		for _, w := range h.of(u.Entity) {
			w.mu.Lock()
			w.tell(u)
			w.mu.Unlock()
		}
	}
}

// soundAfter is longer than a partition's new owner may have told of what is watched before this node has read what was
// saved while nobody told.
const soundAfter = 15 * time.Second

// advance notes that values of that time were told.
func (w *watch) advance(at int64) {
	switch now := time.Now(); {
	case w.newest == 0:
		w.sound, w.turned = at, now
	case now.Sub(w.turned) > soundAfter:
		w.sound, w.turned = w.newest, now
	}
	w.newest = max(w.newest, at)
}

func (w *watch) tell(u Update) {
	if u.Scope == storage.Timeseries {
		w.advance(u.Time)
	}
	if w.fresh != nil {
		for i := range u.Values {
			exact, whole := cells(u, u.Values[i].Key)
			w.fresh[exact], w.fresh[whole] = saved, cmp.Or(w.fresh[whole], saved)
		}
		for _, key := range u.Deleted {
			_, whole := cells(u, key)
			w.fresh[whole] = deleted
		}
	}
	w.deliver(u)
}

// CatchUp tells those who watch e what read returns, but what was told again or deleted since read began. A reading that a
// later one overtook meanwhile is told all the same, as are points between: a new owner may have told later ones before.
// since is the time of time series up to which all who were told of any were surely told everything; 0 when none was told.
// At most one CatchUp of an entity runs at a time.
func (h *Hub) CatchUp(e ident.EntityID, read func(since int64) ([]Update, error)) error {
	watches := h.of(e)
	if len(watches) == 0 {
		return nil
	}
	since, sound := int64(0), make([]int64, len(watches))
	for i, w := range watches {
		w.mu.Lock()
		w.fresh = map[cell]news{}
		if sound[i] = w.sound; w.newest > 0 && (since == 0 || w.sound < since) {
			since = w.sound
		}
		w.mu.Unlock()
	}
	updates, err := read(since)
	for i, w := range watches {
		w.mu.Lock()
		w.catchUp(updates, sound[i])
		w.mu.Unlock()
	}
	return err
}

// catchUp tells what was read, and ends catching up.
func (w *watch) catchUp(updates []Update, sound int64) {
	fresh := w.fresh
	w.fresh = nil
	late := w.newest > 0 // who was told of no reading yet is told of the newest only
	for _, u := range updates {
		u.Values = slices.DeleteFunc(slices.Clone(u.Values), func(kv telemetry.KeyValue) bool {
			exact, whole := cells(u, kv.Key)
			if fresh[exact] != 0 || fresh[whole] == deleted {
				return true
			}
			return (u.between || fresh[whole] != 0) && !(late && u.Time > sound)
		})
		if len(u.Values) > 0 {
			w.tell(u)
		}
	}
}

func (h *Hub) of(e ident.EntityID) []*watch {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.byID[e]
}
