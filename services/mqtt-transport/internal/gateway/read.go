package gateway

import (
	"log/slog"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// mayRead counts an attribute request of c being answered. False: c goes on when others are answered. Only under the lock.
func (g *Gateway) mayRead(c *child) bool {
	switch {
	case c.reading:
		c.stalled = true
		return false
	case g.reads >= g.hub.bounds.Reads:
		g.toRead.push(c)
		return false
	}
	c.reading = true
	g.reads++
	return true
}

// read answers p, a request for attributes of d, before long. Without an answer of the platform there is none: the request
// was acknowledged, and gateways ask again.
func (g *Gateway) read(c *child, d *transport.Device, p *part) {
	q := p.query
	p.end(Answered)
	g.spawn(func() {
		defer g.readEnded(c)
		asked := transport.AttributeQuery{SharedKeys: q.keys}
		if q.client {
			asked = transport.AttributeQuery{ClientKeys: q.keys}
		}
		found, err := g.hub.platform.ReadAttributes(g.ctx, d, asked)
		if err != nil {
			g.hub.metrics.unread.Inc()
			g.hub.log.Debug("attributes could not be read", slog.Any("err", err))
			return
		}
		values := found.Shared
		if q.client {
			values = found.Client
		}
		g.send(topic.GatewayAnswersFilter, topic.GatewayAttributeAnswer, g.form().answer(c.name, q, values))
	})
}

// readEnded lets those go on that waited for c's request to be answered.
func (g *Gateway) readEnded(c *child) {
	g.mu.Lock()
	c.reading = false
	g.reads--
	stalled := c.stalled
	c.stalled = false
	next := g.toRead.pop()
	g.mu.Unlock()
	if stalled {
		g.serve(c, false)
	}
	if next != nil {
		g.serve(next, false)
	}
}

// form is how the gateway is written to.
type form interface {
	// answer answers a request for attributes.
	answer(device string, q *query, values []telemetry.KeyValue) []byte
	updated(device string, values []telemetry.KeyValue) []byte
	deleted(device string, keys []string) []byte
	rpc(device string, r *transport.RPCRequest) []byte
	// notice tells that a device was refused.
	notice(device string, reason int) []byte
}

func (g *Gateway) form() form {
	if g.peer.Protobuf() {
		return protobufForm{}
	}
	return jsonForm{}
}
