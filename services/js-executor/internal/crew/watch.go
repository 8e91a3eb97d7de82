package crew

import (
	"context"
	"slices"
	"time"

	"github.com/sluice-iot/sluice/proto/script"
	"github.com/sluice-iot/sluice/services/js-executor/internal/processor"
)

// tick is how often calls under way are looked at; nobody is woken while there are none.
const tick = 5 * time.Millisecond

// watch looks until ctx ends.
func (c *Crew) watch(ctx context.Context) {
	idle := time.NewTicker(max(c.o.Limits.Idle/4, time.Millisecond))
	defer idle.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-idle.C:
			c.rest()
		case <-c.busy:
			for ctx.Err() == nil && c.look() {
				pause(ctx, tick)
			}
		}
	}
}

// look deals with calls that have taken too long; false when there are no calls.
func (c *Crew) look() bool {
	c.mu.Lock()
	defer c.release()
	now := time.Now()
	stood := processor.Stood(now.Sub(c.looked))
	c.looked = now
	for _, w := range c.workers {
		if len(w.given) == 0 || w.killed != script.OK {
			continue
		}
		spent, wall := w.spent(now, stood)
		if (spent > c.o.Limits.Stuck || wall > stuckWall*c.o.Limits.Stuck) && !w.stuck {
			c.takeBack(w)
		}
		switch first := w.given[0]; {
		case w.stuck && c.beyondShare(first):
			c.unhold(first)
			c.kill(w, script.Pending)
		case spent > first.Timeout+c.o.Limits.Grace:
			c.kill(w, script.Timeout)
		case wall > processor.Patience(first.Timeout)+c.o.Limits.Grace:
			c.kill(w, script.Away)
		}
	}
	for _, t := range c.tenants {
		for e := t.queue.Front(); e != nil; e = t.queue.Front() {
			k, _ := e.Value.(*call)
			if k.deadline.After(now) {
				break
			}
			c.expire(k)
		}
	}
	c.dispatch()
	return len(c.calls) > 0
}

// stuckWall is how many times as long as usual a call may keep others waiting when its process gets no processor time.
const stuckWall = 10

// spent returns how much of its time the first call of a process has used up since it was looked at first, and how long it has taken by the clock on the wall
// of a machine that stood still for so long since the last look.
func (w *worker) spent(now time.Time, stood time.Duration) (spent, wall time.Duration) {
	used := processor.Used(w.cmd.Process.Pid)
	if !w.looked.Equal(w.since) {
		w.looked, w.used, w.stood = w.since, used, 0
	}
	wall = now.Sub(w.since)
	w.stood += min(stood, wall)
	wall -= w.stood
	return processor.Spent(wall, w.used, used), wall
}

// beyondShare reports whether a call that is stuck has one process more than its tenant may have to itself, while others wait and have none: nobody
// knew that its script is slow.
func (c *Crew) beyondShare(k *call) bool {
	if !k.holds || k.tenant.held <= c.share() || c.roomiest() != nil {
		return false
	}
	return slices.ContainsFunc(c.turn, func(other *tenant) bool { return other != k.tenant })
}

// kill ends a process that does not end its first call, whose outcome is why; Pending: it is run again later, by itself.
func (c *Crew) kill(w *worker, why script.Outcome) {
	w.killed = why
	c.o.Watcher.Killed(why)
	w.kill()
}

// rest ends processes that nobody has needed for a while.
func (c *Crew) rest() {
	c.mu.Lock()
	defer c.release()
	if len(c.calls) > 0 || time.Since(c.used) < c.o.Limits.Idle {
		return
	}
	for _, w := range c.workers {
		w.close()
	}
}
