package live

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
)

// group is what this node watches in one partition. Its goroutine tells the partition's owner, if that is another node,
// one request at a time: what is watched meanwhile is the next request.
type group struct {
	w         *Watches
	partition int
	// epoch of the owner that answered last: what an earlier one tells is dropped.
	epoch atomic.Int64
	wake  chan struct{} // has a token when there is something to do

	mu       sync.Mutex
	entities map[ident.EntityID]*watched
	left     []ident.EntityID   // no longer watched, and the owner not told yet
	stop     context.CancelFunc // of the request under way
	// elsewhere: another node said last that it owns the partition, even if this one has yet to notice.
	elsewhere bool
	// urgent: the owner may be a new one, so that pauses after failures do not count.
	urgent bool

	// The rest belongs to the goroutine.
	here    bool // as looked at last
	pause   time.Duration
	renewAt time.Time
}

// watched is one entity.
type watched struct {
	watches int
	due     bool // the owner is to be told
	stale   bool // updates may have been missed: the values are to be read
	// epoch of the owner that answered last for it. Another's answer need not say that it began: it may have read again what
	// the one before it was asked, and not committed, and so know of the watch already.
	epoch int64
	// unsure: the owner was asked, and its answer was lost. It may have been telling since then, or not.
	unsure bool
	// shown: a subscription went on, and relies on updates.
	shown bool
	// settled is closed when the owner has answered; refusal is its refusal.
	settled chan struct{}
	refusal error
}

func (w *watched) isSettled() bool {
	select {
	case <-w.settled:
		return true
	default:
		return false
	}
}

func (w *watched) answer(refusal error) {
	w.refusal = refusal
	if !w.isSettled() {
		close(w.settled)
	}
}

// unsettle makes subscriptions wait for the owner's next answer.
func (w *watched) unsettle() {
	w.due = true
	if w.isSettled() {
		w.settled = make(chan struct{})
	}
}

func newGroup(w *Watches, partition int) *group {
	return &group{w: w, partition: partition, wake: make(chan struct{}, 1), entities: map[ident.EntityID]*watched{}, here: true}
}

func (g *group) rouse() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// mostLeft bounds the owners' news of what is no longer watched; the owner forgets the rest by itself.
const mostLeft = 10_000

// isHere reports whether this node saves the values itself. Only under the lock.
func (g *group) isHere() bool { return !g.elsewhere && g.w.o.Here(g.partition) }

func (g *group) enter(e ident.EntityID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.entities[e]
	if one == nil {
		one = &watched{due: true, settled: make(chan struct{})}
		g.entities[e] = one
		g.w.o.Metrics.watched.Inc()
	}
	one.watches++
	if one.due && !g.isHere() {
		g.rouse()
	}
}

func (g *group) leave(e ident.EntityID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.entities[e]
	if one.watches--; one.watches > 0 {
		return
	}
	delete(g.entities, e)
	g.w.o.Metrics.watched.Dec()
	if len(g.left) < mostLeft && !g.isHere() {
		g.left = append(g.left, e)
		g.rouse()
	}
}

// settle implements Watches.Settle.
func (g *group) settle(ctx context.Context, e ident.EntityID, budget time.Duration) error {
	g.mu.Lock()
	one := g.entities[e]
	if one == nil || g.isHere() || one.isSettled() {
		defer g.mu.Unlock()
		return one.show()
	}
	settled := one.settled
	g.mu.Unlock()
	timer := time.NewTimer(budget)
	defer timer.Stop()
	select {
	case <-settled:
	case <-timer.C:
		g.w.o.Metrics.late.Inc()
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, "wait for the owner of "+e.String(), ctx.Err())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return one.show()
}

func (w *watched) show() error {
	if w == nil {
		return nil
	}
	if w.refusal == nil {
		w.shown = true
	}
	return w.refusal
}

// owned notes that a node owns the partition from now on: this one, or another.
func (g *group) owned(here bool, epoch int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if epoch < g.epoch.Load() {
		return // read late
	}
	g.elsewhere = !here
	if here {
		g.epoch.Store(epoch)
		g.settleHere()
	} else {
		for _, one := range g.entities {
			one.unsettle()
		}
	}
	g.hurry()
}

// settleHere has everybody go on without asking: this node saves the values itself. What another saved before is read.
func (g *group) settleHere() {
	for _, one := range g.entities {
		one.due, one.stale = true, one.stale || one.shown
		one.answer(nil)
	}
	g.left = nil
}

// hurry has the owner asked now, whatever was asked before.
func (g *group) hurry() {
	g.urgent = true
	if g.stop != nil {
		g.stop()
	}
	g.rouse()
}

func (g *group) renew() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.entities {
		one.due = true
	}
	g.hurry()
}

// missed notes that the owner lost updates for this node.
func (g *group) missed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.entities {
		one.stale = one.stale || one.shown
	}
	g.rouse()
}

// The pauses after an owner that does not answer, or a store that cannot be read.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

// run keeps the owner informed until ctx ends.
func (g *group) run(ctx context.Context) {
	g.renewAt = time.Now().Add(rand.N(renewal))
	timer := time.NewTimer(renewal)
	defer timer.Stop()
	for {
		timer.Reset(g.step(ctx))
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		case <-timer.C:
		}
	}
}

// step does what there is to do, as far as it goes, and returns when to look again.
func (g *group) step(ctx context.Context) time.Duration {
	g.look(time.Now())
	for ctx.Err() == nil {
		told, tellErr := g.tell(ctx)
		caught, readErr := g.catchUp(ctx)
		g.mu.Lock()
		again := g.urgent
		g.urgent = false
		g.mu.Unlock()
		switch {
		case again:
			g.pause = 0
		case tellErr != nil || readErr != nil:
			if g.pause == 0 {
				g.w.o.Log.Warn("live updates are late", "partition", g.partition, "err", errors.Join(tellErr, readErr))
			}
			g.pause = min(max(2*g.pause, firstPause), lastPause)
			return g.pause/2 + rand.N(g.pause)
		case told+caught == 0:
			g.pause = 0
			return max(time.Until(g.renewAt), firstPause)
		}
	}
	return renewal
}

// look finds out who owns the partition, and whether it is time to tell the owner again.
func (g *group) look(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	here := g.isHere()
	lost, gained := g.here && !here, !g.here && here
	g.here = here
	if gained {
		g.settleHere()
	}
	if !lost && now.Before(g.renewAt) {
		return
	}
	g.renewAt = now.Add(renewal)
	for _, one := range g.entities {
		one.due = true
	}
}

// pick returns up to most entities of which wanted is true.
func (g *group) pick(most int, wanted func(*watched) bool) []ident.EntityID {
	g.mu.Lock()
	defer g.mu.Unlock()
	var picked []ident.EntityID
	for e := range maps.Keys(g.entities) {
		if wanted(g.entities[e]) {
			if picked = append(picked, e); len(picked) == most {
				break
			}
		}
	}
	return picked
}

// takeLeft returns the entities whose owner is to be told that they are no longer watched, and whether that is this node.
func (g *group) takeLeft() (left []ident.EntityID, here bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	left = slices.DeleteFunc(g.left, func(e ident.EntityID) bool { return g.entities[e] != nil })
	g.left = nil
	return left, g.isHere()
}
