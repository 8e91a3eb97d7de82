package script

import (
	"container/list"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/script"
)

// call is one call under way.
type call struct {
	id      uint64
	of      *state
	args    []string
	size    int
	compile bool
	budget  time.Duration
	end     chan ending
	began   time.Time

	mu      sync.Mutex
	ended   bool
	key     string // where it was sent last
	tried   []int  // partitions
	resent  int
	sent    time.Time // when it was last
	attempt int

	place *list.Element
}

// ending is how a call ended.
type ending struct {
	answer script.Answer
	err    error
}

// finish ends a call once; false when it has ended before.
func (c *call) finish(e ending) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.ended = true
	c.end <- e // it has room for one
	return true
}

// maxResends bounds how often executors may lack the text.
const maxResends = 3

func (c *call) mayResend() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resent++
	return c.resent <= maxResends
}

// fresh reports whether c was not sent yet: only then its answer tells who gave it.
func (c *call) fresh() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.tried) == 0
}

// sentWithin reports whether c was sent less than d ago.
func (c *call) sentWithin(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.sent) < d
}

func (c *call) where() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.key
}

// pending are all calls under way, bounded.
type pending struct {
	config Config

	mu      sync.Mutex
	next    uint64
	calls   map[uint64]*call
	tenants map[ident.TenantID]int
	bytes   int
	waits   [quarters]list.List // of *call, by how often they were sent again; each in the order of its time
}

func (p *pending) init(config Config) {
	// Not those of an earlier process of this name, whose answers may still come.
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails, by its documentation
	p.config, p.next = config, binary.BigEndian.Uint64(seed[:])
	p.calls, p.tenants = map[uint64]*call{}, map[ident.TenantID]int{}
}

// textPending is what a tenant is told.
const textPending = "Pending request map is full! Too many calls of scripts are waiting"

// enter takes a call on.
func (p *pending) enter(c *call) error {
	for _, a := range c.args {
		c.size += len(a)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	tenant := p.tenants[c.of.tenant]
	if len(p.calls) >= p.config.Pending || tenant >= p.config.TenantPending || p.bytes+c.size > p.config.PendingBytes {
		return &Error{Kind: Pending, Text: textPending}
	}
	p.next++
	c.id, c.began = p.next, time.Now()
	p.calls[c.id] = c
	p.tenants[c.of.tenant] = tenant + 1
	p.bytes += c.size
	c.place = p.waits[0].PushBack(c)
	c.of.mu.Lock()
	c.of.under++
	c.of.mu.Unlock()
	return nil
}

func (p *pending) leave(c *call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.calls, c.id)
	if p.tenants[c.of.tenant]--; p.tenants[c.of.tenant] == 0 {
		delete(p.tenants, c.of.tenant)
	}
	p.bytes -= c.size
	if c.place != nil {
		p.waits[c.attempt].Remove(c.place)
		c.place = nil
	}
	c.of.mu.Lock()
	c.of.under--
	c.of.mu.Unlock()
}

func (p *pending) get(id uint64) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[id]
}

// overdue returns the calls that have had no answer for another quarter of their budget.
func (p *pending) overdue(now time.Time) (late []*call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for attempt := range quarters - 1 {
		wait := &p.waits[attempt]
		for e := wait.Front(); e != nil; e = wait.Front() {
			c, _ := e.Value.(*call)
			if now.Sub(c.began) < time.Duration(attempt+1)*c.budget/quarters {
				break
			}
			wait.Remove(e)
			c.attempt++
			c.place = p.waits[c.attempt].PushBack(c)
			late = append(late, c)
		}
	}
	return late
}
