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
	defer s.subscribeRPC(s.rpc)
	refused := byte(packet.UnspecifiedError)
	if s.version == packet.V5 {
		refused = byte(packet.TopicFilterInvalid)
	}
	var room [16]byte
	codes := room[:0]
	s.mu.Lock()
	defer s.mu.Unlock()
	for text, qos := range filters.All() {
		f, ok := s.findFilter(text)
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

// findFilter returns which filter text is; ok is false when the client may not subscribe to it.
func (s *Session) findFilter(text []byte) (topic.Filter, bool) {
	if s.device == nil {
		return topic.ProvisionedFilter, string(text) == topic.Provisioned
	}
	names := s.names()
	return names.FindFilter(text)
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
	if style, ok := f.RPC(); ok {
		s.rpcStyle, s.rpc = style, true
	}
}

// unsubscribe handles UNSUBSCRIBE. Any of the attribute filters ends the updates.
func (s *Session) unsubscribe(body []byte) *packet.Error {
	filters, err := packet.ParseUnsubscribe(s.version, body)
	if err != nil {
		return err
	}
	s.handle.Active()
	defer s.subscribeRPC(s.rpc)
	var room [16]byte
	codes := room[:0]
	s.mu.Lock()
	defer s.mu.Unlock()
	for text := range filters.All() {
		f, ok := s.findFilter(text)
		if !ok || !s.subscribed.Has(f) {
			codes = append(codes, byte(packet.NoSubscriptionExisted))
			continue
		}
		s.subscribed = s.subscribed.Without(f)
		if _, ok := f.Updates(); ok {
			s.updates = false
		}
		if _, ok := f.RPC(); ok {
			s.rpc = false
		}
		codes = append(codes, byte(packet.Success))
	}
	s.write(func(b []byte) []byte { return packet.AppendUnsuback(b, s.version, filters.ID, codes) })
	return nil
}
