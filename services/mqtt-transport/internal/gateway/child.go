package gateway

import (
	"context"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// child is a device behind a gateway. Its parts are handed on in their order. Usually that is done by the gateway's reader, as
// they come; a child that is busy belongs to whoever made it so, and its parts wait for that goroutine.
//
// All is guarded by Gateway.mu.
type child struct {
	gateway *Gateway
	name    string
	device  *transport.Device // nil: not known
	handle  transport.Session // nil: there is none here
	link    *link             // of handle
	away    bool              // its session is another's: it is not opened for what it answers
	busy    bool
	reading bool // an attribute request is being answered
	stalled bool // the next one waits for that

	first, last *part // waiting
}

// mustOpen reports whether c needs a session before a is done.
func (c *child) mustOpen(a topic.Action) bool {
	switch {
	case a == topic.GatewayDisconnect:
		return false
	case a == topic.GatewayReplyRPC && c.away:
		return false
	}
	return c.handle == nil
}

// session is the id of c's session, zero when there is none.
func (c *child) session() (id ident.ID) {
	if c.handle != nil {
		id = c.handle.ID()
	}
	return id
}

// entrust has p done for the device of that name, which begins with a look at whether it can be done at once.
func (g *Gateway) entrust(name []byte, p *part) {
	g.mu.Lock()
	c := g.children[string(name)]
	if c == nil {
		if p.action == topic.GatewayDisconnect {
			g.mu.Unlock()
			p.end(Accepted)
			return
		}
		if c = g.adopt(string(name)); c == nil {
			g.mu.Unlock()
			p.name = string(name)
			p.end(TooMany)
			return
		}
	}
	p.name = c.name
	if c.busy || c.mustOpen(p.action) || p.action == topic.GatewayDisconnect || p.action == topic.GatewayAttributeRequest {
		p.keep()
		g.push(c, p)
		if c.busy {
			g.mu.Unlock()
			return
		}
		c.busy = true
		g.mu.Unlock()
		g.serve(c, false)
		return
	}
	device, session := c.device, c.session()
	g.mu.Unlock()
	if g.publish(p, device, session) {
		return
	}
	p.keep()
	g.mu.Lock()
	c.busy = true
	g.push(c, p)
	g.mu.Unlock()
	g.block(c, device)
}

// adopt returns a new child; nil when there are too many. Only under the lock.
func (g *Gateway) adopt(name string) *child {
	if len(g.children) >= g.hub.bounds.Devices && !g.evict() {
		return nil
	}
	c := &child{gateway: g, name: name}
	g.children[name] = c
	return c
}

// evict forgets a child whose session is elsewhere. Only under the lock.
func (g *Gateway) evict() bool {
	if g.away == 0 {
		return false
	}
	for name, c := range g.children {
		if c.away && !c.busy {
			g.away--
			delete(g.children, name)
			return true
		}
	}
	return false
}

// push has p wait. Only under the lock.
func (g *Gateway) push(c *child, p *part) {
	if c.last == nil {
		c.first = p
	} else {
		c.last.next = p
	}
	c.last = p
	g.waiting += p.size()
}

// pop takes the first part that waits. Only under the lock.
func (g *Gateway) pop(c *child) *part {
	p := c.first
	if c.first = p.next; c.first == nil {
		c.last = nil
	}
	p.next = nil
	g.waiting -= p.size()
	return p
}

// serve does what waits for c, in order, until that is nothing, or has to wait for something else. The caller made c busy.
// opened: c was just opened, which one part at least is done on, even if it was closed again.
func (g *Gateway) serve(c *child, opened bool) {
	defer g.makeRoom()
	for {
		g.mu.Lock()
		p := c.first
		switch {
		case p == nil:
			g.rest(c)
			g.mu.Unlock()
			return
		case g.ctx.Err() != nil:
			g.pop(c)
			g.mu.Unlock()
			p.end(Unavailable)
			continue
		case c.mustOpen(p.action) && !(opened && c.device != nil):
			g.queueOpening(c)
			g.mu.Unlock()
			return
		case p.action == topic.GatewayAttributeRequest && !g.mayRead(c):
			g.mu.Unlock()
			return
		}
		opened = false
		device, session := c.device, c.session()
		g.pop(c)
		switch p.action {
		case topic.GatewayDisconnect:
			g.disconnect(c)
			g.mu.Unlock()
			p.end(Accepted)
			continue
		case topic.GatewayAttributeRequest:
			g.mu.Unlock()
			g.read(c, device, p)
			continue
		}
		g.mu.Unlock()
		if !g.publish(p, device, session) {
			g.mu.Lock()
			g.unpop(c, p)
			g.mu.Unlock()
			g.block(c, device)
			return
		}
	}
}

// unpop undoes pop. Only under the lock.
func (g *Gateway) unpop(c *child, p *part) {
	if p.next = c.first; p.next == nil {
		c.last = p
	}
	c.first = p
	g.waiting += p.size()
}

// rest is the end of serve: nothing waits for c. Only under the lock.
func (g *Gateway) rest(c *child) {
	c.busy = false
	if g.closed {
		g.leave(c)
		return
	}
	if c.handle == nil && !c.away {
		delete(g.children, c.name)
	}
}

// leave is the end of a child that was busy when its gateway was closed. Only under the lock.
func (g *Gateway) leave(c *child) {
	if handle := c.handle; handle != nil {
		c.handle, c.link = nil, nil
		g.hub.metrics.devices.Dec()
		g.hub.farewell.add([]transport.Session{handle})
	}
	delete(g.children, c.name)
	if len(g.children) == 0 {
		if g.expiry.Stop() {
			g.hub.running.Done()
		}
		g.cancel()
	}
}

// disconnect closes c's session. Only under the lock.
func (g *Gateway) disconnect(c *child) {
	if c.away {
		c.away = false
		g.away--
	}
	if c.handle != nil {
		c.handle.Close()
		c.handle, c.link = nil, nil
		g.hub.metrics.devices.Dec()
	}
	c.device = nil
}

// makeRoom has the connection read again when what waits has become less.
func (g *Gateway) makeRoom() {
	g.mu.Lock()
	resume := g.paused && g.waiting <= g.hub.bounds.QueuedBytes/2
	if resume {
		g.paused = false
	}
	g.mu.Unlock()
	if resume {
		g.connection.Resume()
	}
}

// block waits until d's queue to the bus has room, and serves c then. One goroutine waits for all children of the same queue.
func (g *Gateway) block(c *child, d *transport.Device) {
	room := g.hub.platform.Room(d)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.blocked == nil {
		g.blocked = map[<-chan struct{}][]*child{}
	}
	children, waited := g.blocked[room]
	g.blocked[room] = append(children, c)
	if !waited {
		g.spawn(func() { g.unblock(room) })
	}
}

func (g *Gateway) unblock(room <-chan struct{}) {
	select {
	case <-room:
	case <-g.ctx.Done():
	}
	g.mu.Lock()
	children := g.blocked[room]
	delete(g.blocked, room)
	g.mu.Unlock()
	for _, c := range children {
		g.serve(c, false)
	}
}

// queueOpening has c opened by one of the openers. Only under the lock.
func (g *Gateway) queueOpening(c *child) {
	g.toOpen.push(c)
	if g.openers < g.hub.bounds.Openings {
		g.openers++
		g.spawn(g.openAll)
	}
}

// openAll opens children until none waits for it.
func (g *Gateway) openAll() {
	for {
		g.mu.Lock()
		c := g.toOpen.pop()
		if c == nil {
			g.openers--
			g.mu.Unlock()
			return
		}
		kind := c.first.kind
		g.mu.Unlock()
		err := g.openInTurn(c, kind)
		if err != nil {
			g.unopened(c, openingResult(err))
		}
		g.serve(c, err == nil)
	}
}

// openInTurn opens c once the service's gateways have no more than enough under way. What waits counts for nothing but bytes meanwhile.
func (g *Gateway) openInTurn(c *child, kind string) (err error) {
	w := &g.hub.openings
	if err := w.enter(g.ctx, &g.line); err != nil {
		return err
	}
	began := time.Now()
	defer func() { w.leave(began, err) }()
	return g.open(c, kind)
}

// open finds or creates the device and opens a session for it.
func (g *Gateway) open(c *child, kind string) error {
	ctx, cancel := context.WithTimeout(g.ctx, g.hub.bounds.OpenTimeout)
	defer cancel()
	device, err := g.hub.platform.Behind(ctx, g.peer.Device, c.name, kind)
	if err != nil {
		return err
	}
	l := &link{child: c}
	handle, err := g.hub.platform.Open(ctx, device, Protocol, l)
	if err != nil {
		return err
	}
	g.mu.Lock()
	if c.away {
		c.away = false
		g.away--
	}
	c.device = device
	if l.lost { // it was opened elsewhere meanwhile
		g.lose(c, l.reason)
		g.mu.Unlock()
		return nil
	}
	c.handle, c.link = handle, l
	g.hub.metrics.devices.Inc()
	g.mu.Unlock()
	handle.SubscribeRPC(true)
	return nil
}

// unopened ends the parts that waited for c, which could not be opened.
func (g *Gateway) unopened(c *child, r Result) {
	for {
		g.mu.Lock()
		p := c.first
		if p == nil || p.action == topic.GatewayDisconnect {
			g.mu.Unlock()
			return
		}
		g.pop(c)
		g.mu.Unlock()
		if p.action == topic.GatewayAttributeRequest && r == Refused {
			p.end(Unanswerable)
		} else {
			p.end(r)
		}
	}
}

// queue is children in the order they came.
type queue struct{ children []*child }

func (q *queue) push(c *child) { q.children = append(q.children, c) }

// pop returns nil when there is none.
func (q *queue) pop() *child {
	if len(q.children) == 0 {
		q.children = nil
		return nil
	}
	c := q.children[0]
	q.children[0] = nil
	q.children = q.children[1:]
	return c
}
