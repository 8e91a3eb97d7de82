package gateway

import (
	"time"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// message is what a gateway published, while it is taken apart.
type message struct {
	gateway     *Gateway
	publication *publication
	action      topic.Action
	topic       string
	format      transport.Format
}

// Take takes what the gateway published on: payload asks for action, on the topic of that name. It is not kept. receipt is
// told once what became of all of it, perhaps before Take returns. False: too much waits already, and nothing was taken on;
// Connection.Resume says when to try again.
func (g *Gateway) Take(action topic.Action, name string, payload []byte, receipt Receipt) bool {
	if !g.hasRoom() {
		return false
	}
	m := &message{gateway: g, publication: g.begin(receipt), action: action, topic: name, format: transport.JSON}
	m.publication.end(m.take(payload))
	return true
}

func (g *Gateway) hasRoom() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused = g.waiting >= g.hub.bounds.QueuedBytes
	return !g.paused
}

// take takes m apart. What it returns is the result of what no device has a part in.
func (m *message) take(payload []byte) Result {
	g := m.gateway
	protobuf := g.peer.Protobuf()
	switch m.action {
	case topic.GatewayTelemetry, topic.GatewayAttributes, topic.GatewayClaim:
		if protobuf {
			return m.shares(g.split.messages(payload, m.action))
		}
		if m.action == topic.GatewayTelemetry {
			result := m.shares(g.split.telemetry(payload))
			g.latencies.add(g, g.split.rewrite.found, time.Now().UnixMilli())
			return result
		}
		return m.shares(g.split.objects(payload))
	case topic.GatewayConnect, topic.GatewayDisconnect, topic.GatewayAttributeRequest, topic.GatewayReplyRPC:
		r, err := parseRequest(m.action, payload, protobuf)
		if err != nil {
			return resultOf(err)
		}
		p := m.part()
		p.kind, p.id, p.payload, p.query = r.kind, r.id, r.data, r.query
		g.entrust([]byte(r.device), p)
		return Accepted
	}
	return Unknown
}

// shares hands each device its share.
func (m *message) shares(entries []entry, err error) Result {
	if err != nil {
		return resultOf(err)
	}
	for i := range entries {
		e := &entries[i]
		p := m.part()
		p.payload = e.value
		if e.broken || len(e.name) > maxName {
			p.end(Malformed)
			continue
		}
		m.gateway.entrust(e.name, p)
	}
	return Accepted
}

// maxName is the longest name of a device, in bytes: 255 characters of any script.
const maxName = 4 * 255
