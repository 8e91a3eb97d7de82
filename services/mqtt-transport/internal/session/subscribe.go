package session

import (
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
)

// grantedAtMost is the highest QoS of messages to clients.
const grantedAtMost = 1

// subscribe handles SUBSCRIBE: each filter is granted or refused by itself (device-api §1.6).
func (s *Session) subscribe(body []byte) *packet.Error {
	filters, err := packet.ParseSubscribe(s.version, body)
	if err != nil {
		return err
	}
	s.handle.Active()
	refused := byte(packet.UnspecifiedError)
	if s.version == packet.V5 {
		refused = byte(packet.TopicFilterInvalid)
	}
	var room [16]byte
	codes := room[:0]
	s.mu.Lock()
	defer s.mu.Unlock()
	for text, qos := range filters.All() {
		f, ok := topic.FindFilter(text)
		if !ok {
			codes = append(codes, refused)
			continue
		}
		qos = min(qos, grantedAtMost)
		s.grant(f, qos)
		codes = append(codes, qos)
	}
	s.write(func(b []byte) []byte { return packet.AppendSuback(b, s.version, filters.ID, codes) })
	return nil
}

// grant notes a subscription. The attribute filter that was subscribed to last says in which style
// updates are sent. Only under the lock.
func (s *Session) grant(f topic.Filter, qos byte) {
	s.subscribed = s.subscribed.With(f)
	s.atLeastOnce = s.atLeastOnce.Without(f)
	if qos > 0 {
		s.atLeastOnce = s.atLeastOnce.With(f)
	}
	if style, ok := f.Updates(); ok {
		s.style, s.updates = style, true
	}
}

// unsubscribe handles UNSUBSCRIBE. Any of the attribute filters ends the updates.
func (s *Session) unsubscribe(body []byte) *packet.Error {
	filters, err := packet.ParseUnsubscribe(s.version, body)
	if err != nil {
		return err
	}
	s.handle.Active()
	var room [16]byte
	codes := room[:0]
	s.mu.Lock()
	defer s.mu.Unlock()
	for text := range filters.All() {
		f, ok := topic.FindFilter(text)
		if !ok || !s.subscribed.Has(f) {
			codes = append(codes, byte(packet.NoSubscriptionExisted))
			continue
		}
		s.subscribed = s.subscribed.Without(f)
		if _, ok := f.Updates(); ok {
			s.updates = false
		}
		codes = append(codes, byte(packet.Success))
	}
	s.write(func(b []byte) []byte { return packet.AppendUnsuback(b, s.version, filters.ID, codes) })
	return nil
}

// send publishes to the client: at the QoS f was subscribed with, at QoS 1 when it was not
// (answers need no subscription). Only under the lock.
func (s *Session) send(f topic.Filter, name string, payload []byte) {
	if s.closing || s.phase != accepted {
		return
	}
	qos := byte(1)
	if s.subscribed.Has(f) && !s.atLeastOnce.Has(f) || s.unanswered >= s.receiveMaximum {
		qos = 0 // also when the client takes no more at QoS 1 at a time (MQTT-3.3.4-9)
	}
	if s.packetMaximum > 0 && packet.PublishSize(s.version, qos, name, payload) > int(s.packetMaximum) {
		s.hub.metrics.oversize.Inc() // as if it had been sent (MQTT-3.1.2-25)
		return
	}
	if qos > 0 {
		s.unanswered++
	}
	if s.nextID++; s.nextID == 0 {
		s.nextID = 1
	}
	s.hub.metrics.sent.Inc()
	s.write(func(b []byte) []byte { return packet.AppendPublish(b, s.version, qos, s.nextID, name, payload) })
}
