package session

import (
	"context"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/gateway"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// openGateway has the session serve the devices behind its client, if that is a gateway. ctx bounds what that starts.
func (s *Session) openGateway(ctx context.Context) {
	if s.device == nil || !s.device.Gateway {
		return
	}
	device := s.device
	s.behind = s.hub.gateways.Open(ctx, gateway.Peer{
		Device: device, Session: s.id, Notices: s.version == packet.V5, OverwriteActivity: device.OverwriteActivity,
		Protobuf: func() bool { return device.Options().GetProtobuf() },
	}, (*carrier)(s))
}

// gateway takes on what a gateway says of the devices behind it. From any other device it is not even acknowledged.
func (s *Session) gateway(m, before *message, r topic.Route, payload []byte) Verdict {
	if s.behind == nil {
		return s.conclude(m, outcome{fate: Denied, mute: true})
	}
	if !s.behind.Take(r.Action, r.Name, payload, m) {
		s.withdraw(m, before)
		return Pause
	}
	return More
}

// Concluded implements gateway.Receipt.
func (m *message) Concluded(r gateway.Result) {
	m.session.finish(m, m.session.gatewayOutcome(r, m.qos))
}

// gatewayOutcome is what a gateway is told of its message (device-api §2.5). What was not taken on is never acknowledged: before
// MQTT 5, which has no way to tell of one device, its connection ends, where the reference platform acknowledges.
func (s *Session) gatewayOutcome(r gateway.Result, qos byte) outcome {
	modern := s.version == packet.V5
	switch r {
	case gateway.Accepted:
		return outcome{}
	case gateway.Answered:
		return outcome{fate: Answered}
	case gateway.Unknown:
		return s.unknownTopic(UnknownTopic, packet.TopicNameInvalid)
	case gateway.Malformed:
		return outcome{fate: Malformed, reason: packet.PayloadFormatInvalid, fatal: !modern || qos == 0}
	case gateway.Unusable:
		return outcome{fate: Malformed, reason: packet.ImplementationError, fatal: true, acknowledge: true}
	case gateway.Limited, gateway.TooMany:
		return outcome{fate: Limited, reason: packet.QuotaExceeded, fatal: !modern}
	case gateway.Refused:
		return outcome{fate: Denied, reason: packet.UnspecifiedError, fatal: !modern}
	case gateway.Unanswerable:
		return outcome{fate: Denied, reason: packet.ImplementationError}
	default:
		return outcome{fate: Unavailable, reason: packet.UnspecifiedError, fatal: !modern}
	}
}

// carrier is a Session as its gateway.Connection.
type carrier Session

// Send implements gateway.Connection.
func (c *carrier) Send(f topic.Filter, name string, payload []byte) {
	s := (*Session)(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(f, name, payload)
}

// SendRequest implements gateway.Connection.
func (c *carrier) SendRequest(d *transport.Device, session ident.ID, r transport.RPCRequest, payload []byte) {
	s := (*Session)(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliver(delivery{
		topic: topic.GatewayRPC, payload: payload, qos: s.qosOf(topic.GatewayRPCFilter),
		request: &carried{RPCRequest: r, device: d, session: session},
	})
}

// Resume implements gateway.Connection.
func (c *carrier) Resume() {
	s := (*Session)(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.paused = false
		s.wire.Resume()
	}
}

// Panicked implements gateway.Connection.
func (c *carrier) Panicked(what any) {
	s := (*Session)(c)
	s.hub.log.Error("a gateway's connection panicked", "panic", what)
	s.Break(CausePanic)
}
