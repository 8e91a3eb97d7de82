package session

import (
	"context"
	"errors"
	"slices"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// Protocol is what uplinks say they came over.
const Protocol = "MQTT"

// find tells what a topic means to the device, by its profile as it is now.
func (s *Session) find(name []byte) topic.Route {
	o := s.device.Options()
	if o.GetTelemetryTopic() == "" && o.GetAttributesTopic() == "" {
		return topic.Find(name)
	}
	names := topic.Names{Telemetry: o.GetTelemetryTopic(), Attributes: o.GetAttributesTopic()}
	return names.Find(name)
}

// names are the names the device's profile gives topics.
func (s *Session) names() topic.Names {
	o := s.device.Options()
	return topic.Names{Telemetry: o.GetTelemetryTopic(), Attributes: o.GetAttributesTopic(), Updates: o.GetAttributesSubscribeTopic()}
}

// publish takes a PUBLISH on. It is answered when the bus has it, never earlier.
func (s *Session) publish(ctx context.Context, h packet.Header, body []byte) Verdict {
	p, wrong := packet.ParsePublish(s.version, h.Flags, body)
	if wrong != nil {
		return s.violated(wrong)
	}
	if p.QoS == 2 {
		if v, again := s.exactlyOnce(p.ID); again || v != More {
			return v
		}
	}
	m, before, v := s.enqueue(&p)
	if v != More {
		return v
	}
	s.taken++
	if s.device == nil {
		return s.publishNobody(ctx, m, before, &p)
	}
	route := s.find(p.Topic)
	from := transport.Origin{Transport: Protocol, Topic: route.Name, Session: s.id, Format: formatOf(route.Style)}
	var err error
	switch {
	case route.Action == topic.None:
		return s.conclude(m, s.unknownTopic(UnknownTopic, packet.TopicNameInvalid))
	case route.Action == topic.Telemetry:
		err = s.hub.platform.PublishTelemetry(s.device, from, p.Payload, m.done)
	case route.Action == topic.Attributes:
		err = s.hub.platform.PublishAttributes(s.device, from, p.Payload, m.done)
	case route.Action == topic.AttributeRequest:
		return s.requestAttributes(ctx, m, before, route, p.Payload)
	case route.Action == topic.CallRPC && route.Style == topic.Long && s.asksLimits(p.Payload):
		return s.answerLimits(m, route)
	case route.Action == topic.CallRPC:
		err = s.callRPC(ctx, route, from, p.Payload, m.done)
	case route.Action == topic.ReplyRPC:
		err = s.replyRPC(route, from, p.Payload, m.done)
	case route.Action == topic.Claim:
		err = s.hub.platform.Claim(s.device, from, p.Payload, m.done)
	case route.Action == topic.FirmwareChunk, route.Action == topic.SoftwareChunk:
		return s.requestChunk(ctx, m, before, route, p.Payload)
	case route.Action.OfGateway():
		return s.gateway(m, before, route, p.Payload)
	default:
		return s.conclude(m, s.unknownTopic(UnknownTopic, packet.TopicNameInvalid)) // provisioning, say
	}
	switch {
	case err == nil:
		return More
	case errors.Is(err, bus.ErrFull):
		s.withdraw(m, before)
		return Full
	}
	return s.conclude(m, s.outcomeOf(err, p.QoS))
}

// conclude finishes m, and takes no more on when that will be the end of the connection.
func (s *Session) conclude(m *message, o outcome) Verdict {
	if o.fatal {
		s.mu.Lock()
		s.ending, s.cause, s.shutdown = true, CauseRefused, o.reason
		s.mu.Unlock()
	}
	s.finish(m, o)
	if o.fatal {
		return Close // once those before it are answered: see end
	}
	return More
}

// exactlyOnce looks at a QoS 2 PUBLISH (3.1.1 §4.3.3): again when it came before, and is or will
// be answered by PUBREC. MQTT 5 clients were told not to send any.
func (s *Session) exactlyOnce(id uint16) (v Verdict, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version == packet.V5 {
		s.close(CauseProtocol, packet.QoSNotSupported)
		return Close, false
	}
	if slices.Contains(s.received, id) {
		s.write(func(b []byte) []byte { return packet.AppendAck(b, s.version, packet.PUBREC, id, packet.Success) })
		return More, true
	}
	for m := s.first; m != nil; m = m.next {
		if m.qos == 2 && m.id == id {
			return More, true
		}
	}
	if len(s.received) >= s.hub.rules.InFlight {
		s.close(CauseProtocol, packet.QuotaExceeded)
		return Close, false
	}
	return More, false
}

// released handles PUBREL: the client has seen PUBREC and will not send the message again.
func (s *Session) released(body []byte) *packet.Error {
	id, _, err := packet.ParseAck(s.version, body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.received, id); i >= 0 {
		s.received = slices.Delete(s.received, i, i+1)
	}
	if len(s.received) == 0 {
		s.received = nil
	}
	s.write(func(b []byte) []byte { return packet.AppendAck(b, s.version, packet.PUBCOMP, id, packet.Success) })
	return nil
}
