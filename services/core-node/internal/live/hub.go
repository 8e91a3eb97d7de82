package live

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

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
	// newest is the largest time of time series told.
	newest int64
	// fresh is what was told since catching up began; nil outside of it.
	fresh map[cell]struct{}
}

// cell is one series or attribute.
type cell struct {
	scope storage.Scope
	key   string
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

func (w *watch) tell(u Update) {
	if u.Scope == storage.Timeseries && u.Time > w.newest {
		w.newest = u.Time
	}
	if w.fresh != nil {
		for i := range u.Values {
			w.fresh[cell{u.Scope, u.Values[i].Key}] = struct{}{}
		}
		for _, key := range u.Deleted {
			w.fresh[cell{u.Scope, key}] = struct{}{}
		}
	}
	w.deliver(u)
}

// CatchUp tells those who watch e what read returns, except what was overtaken by an update told since read began.
// since is the time of time series up to which all who were told of any were told; 0 when none was. At most one CatchUp
// of an entity runs at a time.
func (h *Hub) CatchUp(e ident.EntityID, read func(since int64) ([]Update, error)) error {
	watches := h.of(e)
	if len(watches) == 0 {
		return nil
	}
	since := int64(0)
	for _, w := range watches {
		w.mu.Lock()
		w.fresh = map[cell]struct{}{}
		if w.newest > 0 && (since == 0 || w.newest < since) {
			since = w.newest
		}
		w.mu.Unlock()
	}
	updates, err := read(since)
	for _, w := range watches {
		w.mu.Lock()
		fresh := w.fresh
		w.fresh = nil
		told := w.newest
		for _, u := range updates {
			if u.between && (told == 0 || u.Time <= told) {
				continue
			}
			u.Values = slices.DeleteFunc(slices.Clone(u.Values), func(kv telemetry.KeyValue) bool {
				_, overtaken := fresh[cell{u.Scope, kv.Key}]
				return overtaken
			})
			if len(u.Values) > 0 {
				w.tell(u)
			}
		}
		w.mu.Unlock()
	}
	return err
}

func (h *Hub) of(e ident.EntityID) []*watch {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.byID[e]
}
