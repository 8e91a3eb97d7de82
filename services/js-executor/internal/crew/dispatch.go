package crew

import (
	"slices"
	"time"

	"github.com/sluice-iot/sluice/proto/script"
	"github.com/sluice-iot/sluice/services/js-executor/internal/engine"
)

// dispatch gives waiting calls to processes that have room. mu is held.
func (c *Crew) dispatch() {
	for c.waiting > 0 {
		w := c.roomiest()
		if w == nil {
			break
		}
		k, apart := c.pick()
		if k == nil {
			break
		}
		if k.alone = apart; apart {
			c.hold(k)
			if len(w.given) > 0 {
				w.reserved = k // as soon as it has nothing else
				continue
			}
		}
		c.give(w, k)
	}
	if c.waiting > 0 {
		c.startWorker()
	}
	if len(c.calls) > 0 {
		select {
		case c.busy <- struct{}{}:
		default:
		}
	}
}

// roomiest returns the process with the least to do that takes more; nil when none does.
func (c *Crew) roomiest() (best *worker) {
	for _, w := range c.workers {
		if w.open(c.o.Limits.Window) && (best == nil || len(w.given) < len(best.given)) {
			best = w
		}
	}
	return best
}

// give sends a call to a process.
func (c *Crew) give(w *worker, k *call) {
	request := k.Call
	if !w.knows[k.Script] {
		kept := c.bodies.get(k.Script)
		if kept == nil {
			c.finish(k, &script.Answer{Outcome: script.NotFound})
			return
		}
		request.Parameters, request.Body = kept.parameters, kept.body
		w.learn(k.Script, c.o.Child.Programs)
	}
	if len(w.given) == 0 {
		w.since = time.Now()
	}
	w.given = append(w.given, k)
	w.send(&request)
}

// answered takes in what a process wrote. mu is held.
func (c *Crew) answered(w *worker, answers []script.Answer) {
	now := time.Now()
	for i := range answers {
		a := &answers[i]
		k := c.calls[a.ID]
		if at := slices.IndexFunc(w.given, func(g *call) bool { return g.ID == a.ID }); at >= 0 {
			w.given = slices.Delete(w.given, at, at+1)
			w.since, w.stuck = now, false
		}
		if k == nil {
			continue // it was run twice, and has its answer
		}
		if a.Outcome == script.NotFound {
			delete(w.knows, k.Script)
			c.unhold(k)
			if k.place == nil {
				c.wait(k, true)
			}
			continue
		}
		if a.Outcome == script.Away && c.paces.excused(k.Script) {
			c.finish(k, a)
			continue
		}
		if a.Outcome == script.Away {
			a.Outcome, a.Text, a.Ran = script.Timeout, engine.TextTimeout, k.Timeout
		}
		c.paces.ran(k.Script, a.Ran, now)
		c.finish(k, a)
	}
}

// next gives a process what it has room for, now that it has told something, and then all others. mu is held.
func (c *Crew) next(w *worker) {
	if len(w.given) == 0 && w.reserved != nil && !w.asked {
		k := w.reserved
		w.reserved = nil
		if !k.over {
			c.give(w, k)
		}
	}
	c.dispatch()
}

// takeBack takes back all but the first call of a process that is stuck in it.
func (c *Crew) takeBack(w *worker) {
	w.stuck = true
	c.hold(w.given[0])
	rest := w.given[1:]
	w.given = w.given[:1:1]
	c.again(rest)
	c.unreserve(w)
	if len(rest) > 0 {
		w.askBack()
	}
}

// unreserve puts the call that waits for a process to be empty back into its queue.
func (c *Crew) unreserve(w *worker) {
	if k := w.reserved; k != nil {
		w.reserved = nil
		c.again([]*call{k})
	}
}

// again puts calls that were not run back where they were.
func (c *Crew) again(calls []*call) {
	for _, k := range slices.Backward(calls) {
		if k.over || k.place != nil {
			continue
		}
		c.unhold(k)
		c.wait(k, true)
	}
}

// gaveBack is a process' word that nothing but one call, which may be none, is left there: the answers of all others are in. mu is held.
func (c *Crew) gaveBack(w *worker, running uint64) {
	w.asked = false
	at := slices.IndexFunc(w.given, func(g *call) bool { return g.ID == running })
	if at == 0 && len(w.given) == 1 {
		return
	}
	// It had begun another one before it was asked, or not even the first.
	given := w.given
	w.given, w.since, w.stuck = nil, time.Now(), false
	switch k := c.calls[running]; {
	case running == 0:
	case at >= 0:
		w.given = append(w.given, given[at])
		given = slices.Delete(given, at, at+1)
	case k != nil:
		c.unwait(k)
		w.given = append(w.given, k)
	default: // nobody waits for it any more: it is killed if it does not end soon
		w.given = append(w.given, &call{Call: script.Call{ID: running}, over: true})
	}
	c.again(given)
}

// died takes a process off the list and sees to its calls. mu is held.
func (c *Crew) died(w *worker, how death) {
	c.workers = slices.DeleteFunc(c.workers, func(other *worker) bool { return other == w })
	c.o.Watcher.Children(len(c.workers))
	c.unreserve(w)
	given := w.given
	w.given = nil
	if !w.closing && w.killed == script.OK {
		c.o.Watcher.Died()
		c.o.Log.Warn("a process of scripts ended by itself", "calls", len(given), "from outside", how.fromOutside, "said", how.text)
	}
	switch {
	case len(given) == 0, w.closing:
	case w.killed == script.Pending:
		given[0].alone = true
		c.paces.ran(given[0].Script, slowRun+1, time.Now())
	case w.killed != script.OK:
		k := given[0]
		given = given[1:]
		answer := &script.Answer{Outcome: script.Away, Text: engine.TextAway}
		if w.killed == script.Timeout || !c.paces.excused(k.Script) {
			answer = &script.Answer{Outcome: script.Timeout, Text: engine.TextTimeout, Ran: k.Timeout + c.o.Limits.Grace}
			if k.tenant != nil {
				c.paces.ran(k.Script, k.Timeout, time.Now())
			}
		}
		c.finish(k, answer)
	case len(given) == 1 && (given[0].deaths > 0 || !how.fromOutside && !how.thread):
		k := given[0]
		given = nil
		c.paces.ran(k.Script, time.Since(w.since)+slowRun, time.Now())
		c.finish(k, how.answer())
	default: // who of them it was shows when each is run by itself
		for _, k := range given {
			k.alone = true
			k.deaths++
		}
	}
	c.again(given)
	if !w.closing {
		c.startWorker()
	}
	c.dispatch()
}
