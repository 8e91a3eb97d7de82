package live

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluice-iot/sluice/proto/ident"
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
			w.deliver(u)
			w.mu.Unlock()
		}
	}
}

func (h *Hub) of(e ident.EntityID) []*watch {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.byID[e]
}
