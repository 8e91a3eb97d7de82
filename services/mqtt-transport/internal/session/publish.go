package session

import (
	"context"
	"errors"
	"slices"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// Protocol is what uplinks say they came over.
const Protocol = "MQTT"

// errNoSchema answers what asks for protobuf: there is no schema to read it by.
var errNoSchema = fault.New(fault.Invalid, "the device's profile has no protobuf schema")

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
	route := topic.Find(p.Topic)
	from := transport.Origin{Transport: Protocol, Topic: route.Name, Session: s.id}
	var err error
	switch route.Action {
	case topic.Telemetry:
		err = s.hub.platform.PublishTelemetry(s.device, from, p.Payload, m.done)
	case topic.Attributes:
		err = s.hub.platform.PublishAttributes(s.device, from, p.Payload, m.done)
	case topic.AttributeRequest:
		return s.requestAttributes(ctx, m, before, route, p.Payload)
	case topic.Protobuf:
		err = errNoSchema
	case topic.Later:
		return s.conclude(m, s.unknownTopic(Unsupported, packet.ImplementationError))
	default:
		return s.conclude(m, s.unknownTopic(UnknownTopic, packet.TopicNameInvalid))
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

// answered handles PUBACK: the client has what it was sent.
func (s *Session) answered(body []byte) *packet.Error {
	_, _, err := packet.ParseAck(s.version, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.unanswered > 0 {
		s.unanswered--
	}
	return err
}
