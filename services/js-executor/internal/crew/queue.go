package crew

import (
	"container/list"
	"slices"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/script"
)

// call is one call that was taken on.
type call struct {
	script.Call // its ID is the crew's own
	caller      uint64
	deadline    time.Time
	done        func(*script.Answer)
	size        int
	tenant      *tenant
	place       *list.Element // in its tenant's queue; nil when it is not there
	over        bool
	holds       bool // it has a process to itself, which counts against its tenant
	alone       bool // it was in a process that died, or is slow, and is run by itself next
	deaths      int
}

// tenant is one tenant's calls.
type tenant struct {
	id    ident.TenantID
	queue list.List // of *call
	calls int       // waiting and running
	bytes int
	held  int // processes its calls have to themselves
}

func (c *Crew) tenant(id ident.TenantID) *tenant {
	t := c.tenants[id]
	if t == nil {
		t = &tenant{id: id}
		c.tenants[id] = t
	}
	return t
}

// wait puts a call into its tenant's queue, in front when it had been there before.
func (c *Crew) wait(k *call, first bool) {
	t := k.tenant
	if t.queue.Len() == 0 {
		c.turn = append(c.turn, t)
	}
	if first {
		k.place = t.queue.PushFront(k)
	} else {
		k.place = t.queue.PushBack(k)
	}
	c.waiting++
	c.bytes += k.size
}

// unwait takes a call out of its queue.
func (c *Crew) unwait(k *call) {
	if k.place == nil {
		return
	}
	k.tenant.queue.Remove(k.place)
	k.place = nil
	c.waiting--
	c.bytes -= k.size
	if k.tenant.queue.Len() == 0 {
		if i := slices.Index(c.turn, k.tenant); i >= 0 {
			c.turn = slices.Delete(c.turn, i, i+1)
		}
	}
}

// leave ends a call's stay.
func (c *Crew) leave(k *call) {
	k.over = true
	if k.tenant == nil {
		return // it was never taken on
	}
	c.unwait(k)
	c.unhold(k)
	delete(c.calls, k.ID)
	k.tenant.calls--
	k.tenant.bytes -= k.size
	if k.tenant.calls == 0 {
		delete(c.tenants, k.tenant.id)
	}
}

func (c *Crew) hold(k *call) {
	if !k.holds && !k.over {
		k.holds = true
		k.tenant.held++
	}
}

func (c *Crew) unhold(k *call) {
	if k.holds {
		k.holds = false
		k.tenant.held--
	}
}

// share is how many processes the calls of one tenant may have to themselves: half of them.
func (c *Crew) share() int { return max(1, c.o.Limits.Children/2) }

// mayHold reports whether one more process may be had by one call of t.
func (c *Crew) mayHold(t *tenant) bool { return t.held < c.share() }

// pick returns the next call that may be run, one tenant after the other, and takes it out of its queue; apart says that it must have a process to itself.
func (c *Crew) pick() (k *call, apart bool) {
	now := time.Now()
	for i := 0; i < len(c.turn); {
		t := c.turn[i]
		first, _ := t.queue.Front().Value.(*call)
		if first.deadline.Before(now) {
			c.expire(first) // if it was the tenant's last, the next tenant takes its place
			continue
		}
		apart = first.alone || c.paces.unsure(first.Script, now)
		if apart && !c.mayHold(t) {
			i++
			continue
		}
		// The others come before it the next time.
		c.turn = append(slices.Delete(c.turn, i, i+1), t)
		c.unwait(first)
		return first, apart
	}
	return nil, false
}
