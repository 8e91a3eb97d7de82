package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
)

// How many devices the gateways of a service may open at a time, taken together.
const (
	leastOpenings = 16 // also what a window begins with
	mostOpenings  = 1024
)

// window bounds the devices that are being opened over all gateways. The core has a call's budget to answer, however many stand in
// line there; and a call that is given up costs it no less. So they stand in line here, where no time is running: as many are let in
// as are answered soon. Gateways take turns, whatever each has to open.
type window struct {
	slow time.Duration // an answer that took longer says that too many were let in
	// waiting is told how many stand in line.
	waiting interface{ Add(float64) }

	mu     sync.Mutex
	inside int
	size   float64
	steep  bool      // nothing has been slow yet
	cut    time.Time // what was let in earlier has been heeded already
	lines  []*line   // of gateways, the next turn's first
}

// line is those of one gateway that wait to be let in. By window.mu.
type line []chan struct{}

// enter waits to be let in; who was, leaves. l is the gateway's.
func (w *window) enter(ctx context.Context, l *line) error {
	w.mu.Lock()
	ready := make(chan struct{})
	if *l = append(*l, ready); len(*l) == 1 {
		w.lines = append(w.lines, l)
	}
	w.waiting.Add(1)
	w.admit()
	w.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := slices.Index(*l, ready); at >= 0 {
		*l = slices.Delete(*l, at, at+1)
		w.waiting.Add(-1)
		if len(*l) == 0 {
			w.lines = slices.DeleteFunc(w.lines, func(other *line) bool { return other == l })
		}
	} else { // it was let in at the same moment
		w.inside--
		w.admit()
	}
	return fault.Wrap(fault.Unavailable, "wait to open a device", ctx.Err())
}

// leave ends what enter began; began is when it was let in, and err what came of it.
func (w *window) leave(began time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inside--
	now := time.Now()
	switch took := now.Sub(began); {
	case took > w.slow || fault.KindOf(err) == fault.Unavailable:
		if began.After(w.cut) {
			w.size, w.cut, w.steep = max(leastOpenings, w.size/2), now, false
		}
	case took > w.slow/2 || len(w.lines) == 0: // as it should be, or nobody needs more
	case w.steep:
		w.size = min(mostOpenings, w.size+1)
	default:
		w.size = min(mostOpenings, w.size+1/w.size)
	}
	w.admit()
}

// admit lets in whom there is room for. Only under the lock.
func (w *window) admit() {
	for w.inside < int(w.size) && len(w.lines) > 0 {
		l := w.lines[0]
		w.lines = w.lines[1:]
		close((*l)[0])
		if *l = (*l)[1:]; len(*l) > 0 {
			w.lines = append(w.lines, l)
		}
		w.inside++
		w.waiting.Add(-1)
	}
}
