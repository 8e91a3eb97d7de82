package gateway

import (
	"errors"
	"slices"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// part is what a message says of one device. Parts are reused.
type part struct {
	next        *part
	publication *publication
	done        func(error) // p.published, bound once
	action      topic.Action
	from        transport.Origin // but its session
	// payload belongs to the message until the part is kept.
	payload []byte
	kind    string // of a device that connects
	id      int32  // of the request that is answered
	query   *query // of attributes
	name    string // of the device, for notices
}

// partOverhead is what a part that waits counts for beside its payload, in bytes.
const partOverhead = 256

func (p *part) size() int { return partOverhead + len(p.payload) }

// part returns a part of m.
func (m *message) part() *part {
	m.publication.left.Add(1)
	p := m.gateway.hub.parts.Get().(*part)
	p.publication, p.action = m.publication, m.action
	p.from = transport.Origin{Transport: Protocol, Topic: m.topic, Format: m.format}
	return p
}

// keep makes p's payload its own.
func (p *part) keep() { p.payload = slices.Clone(p.payload) }

// published is called by the platform, from a goroutine of its own or from ours.
func (p *part) published(err error) { p.end(resultOf(err)) }

// end ends p, which nobody may use any more.
func (p *part) end(r Result) {
	pub := p.publication
	g := pub.gateway
	g.hub.metrics.parts[r].Inc()
	if reason := r.notice(); reason > 0 {
		g.notify(p.name, reason)
	}
	*p = part{done: p.done}
	g.hub.parts.Put(p)
	pub.end(r)
}

// publish hands p to the platform as d's. False: there is no room; p is as it was.
func (g *Gateway) publish(p *part, d *transport.Device, session ident.ID) bool {
	p.from.Session = session
	platform := g.hub.platform
	var err error
	switch p.action {
	case topic.GatewayTelemetry:
		err = platform.PublishTelemetry(d, p.from, p.payload, p.done)
	case topic.GatewayAttributes:
		err = platform.PublishAttributes(d, p.from, p.payload, p.done)
	case topic.GatewayClaim:
		err = platform.Claim(d, p.from, p.payload, p.done)
	case topic.GatewayReplyRPC:
		err = platform.ReplyRPC(d, p.id, p.from, p.payload, p.done)
	default: // the device was to be there, and is
		p.end(Accepted)
	}
	if errors.Is(err, bus.ErrFull) {
		return false
	}
	if err != nil {
		p.end(resultOf(err))
	}
	return true
}
