package gateway

import (
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// link is what one session of a child offers to the platform.
type link struct {
	child *child
	// By Gateway.mu.
	lost   bool
	reason sluicepb.CloseReason
}

var _ transport.Downlinks = (*link)(nil)

// AttributesUpdated implements transport.Downlinks. The gateway gets it whether or not it subscribed.
func (l *link) AttributesUpdated(updated []telemetry.KeyValue, deleted []string) {
	g := l.child.gateway
	if !l.holds() {
		return
	}
	form := g.form()
	if len(updated) > 0 {
		g.send(topic.GatewayUpdatesFilter, topic.GatewayUpdates, form.updated(l.child.name, updated))
	}
	if len(deleted) > 0 {
		g.send(topic.GatewayUpdatesFilter, topic.GatewayUpdates, form.deleted(l.child.name, deleted))
	}
}

// RPC implements transport.Downlinks.
func (l *link) RPC(r transport.RPCRequest) {
	g := l.child.gateway
	g.mu.Lock()
	device, session := l.child.device, l.child.session()
	holds := !l.lost && !g.closed && device != nil
	g.mu.Unlock()
	if holds {
		g.connection.SendRequest(device, session, r, g.form().rpc(l.child.name, &r))
	}
}

// Close implements transport.Downlinks: the session is over, and the gateway learns nothing of it. When the device
// was deleted, its next mention creates it again; when another has it now, its next mention takes it back.
func (l *link) Close(reason sluicepb.CloseReason) {
	c := l.child
	g := c.gateway
	g.mu.Lock()
	defer g.mu.Unlock()
	l.lost, l.reason = true, reason
	if c.link != l {
		return
	}
	c.handle, c.link = nil, nil
	g.hub.metrics.devices.Dec()
	g.lose(c, reason)
	if !c.busy && !c.away {
		delete(g.children, c.name)
	}
}

// lose notes that c's session is over. Only under the lock.
func (g *Gateway) lose(c *child, reason sluicepb.CloseReason) {
	if reason != sluicepb.CloseReason_TAKEN_OVER {
		c.device = nil
		return
	}
	if !c.away && !g.closed {
		c.away = true
		g.away++
	}
}

func (l *link) holds() bool {
	g := l.child.gateway
	g.mu.Lock()
	defer g.mu.Unlock()
	return !l.lost && !g.closed
}

func (g *Gateway) send(f topic.Filter, name string, payload []byte) {
	if payload != nil {
		g.connection.Send(f, name, payload)
	}
}
