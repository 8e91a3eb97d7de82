package session

import (
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
)

// message is a PUBLISH that was taken on and not yet answered. Messages are answered in the order
// they came (MQTT-4.6.0-2): one that is finished waits for those before it. Messages are reused.
type message struct {
	session *Session
	next    *message
	done    func(error) // m.published, bound once

	id       uint16
	qos      byte
	finished bool
	outcome  outcome
}

// enqueue takes m on as the last message in flight and returns the one before it, for withdraw.
func (s *Session) enqueue(p *packet.Publish) (m, before *message, v Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return nil, nil, Close
	case s.ending, int(s.inFlight) >= s.hub.rules.InFlight:
		s.paused = true
		return nil, nil, Pause
	}
	m = s.hub.messages.Get().(*message)
	m.session, m.id, m.qos = s, p.ID, p.QoS
	before = s.last
	if before == nil {
		s.first = m
	} else {
		before.next = m
	}
	s.last = m
	s.inFlight++
	return m, before, More
}

// withdraw takes m, the last message, back: it was not taken on after all. Only by the reader.
func (s *Session) withdraw(m, before *message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == m { // before is answered meanwhile, and no longer ours
		s.first, before = nil, nil
	} else {
		before.next = nil
	}
	s.last = before
	s.inFlight--
	s.hub.forget(m)
	s.taken--
	s.settled()
}

// published is called by the bus, from a goroutine of its own.
func (m *message) published(err error) {
	m.session.finish(m, m.session.outcomeOf(err, m.qos))
}

// finish notes what became of m, and answers m and those behind it that waited for it.
func (s *Session) finish(m *message, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.finished, m.outcome = true, o
	if s.first != m {
		return
	}
	for m != nil && m.finished {
		next := m.next
		s.answer(m)
		s.inFlight--
		s.hub.forget(m)
		m = next
	}
	if s.first = m; m == nil {
		s.last = nil
	}
	if s.out != nil || s.stream != nil {
		s.wrote(s.output())
	} else {
		s.count() // nothing was to be written, so no Take will
	}
	s.settled()
}

// answer writes what the client is told of m. Only under the lock.
func (s *Session) answer(m *message) {
	if m.outcome.fate == Acknowledged {
		s.acked++
	} else {
		s.hub.metrics.fates[m.outcome.fate].Inc()
	}
	switch {
	case s.closing, m.outcome.mute:
	case m.outcome.fatal && !(m.outcome.acknowledge && m.qos == 1):
		s.close(CauseRefused, m.outcome.reason)
	case m.qos == 1:
		o := s.output()
		o.Bytes = packet.AppendAck(o.Bytes, s.version, packet.PUBACK, m.id, m.outcome.reason)
		if m.outcome.fatal {
			s.close(CauseRefused, m.outcome.reason)
		}
	case m.qos == 2:
		s.received = append(s.received, m.id)
		o := s.output()
		o.Bytes = packet.AppendAck(o.Bytes, s.version, packet.PUBREC, m.id, m.outcome.reason)
	}
}

// settled lets go on what waited for messages to be answered. Only under the lock.
func (s *Session) settled() {
	switch {
	case s.closing:
	case s.ending:
		if s.first == nil {
			s.close(s.cause, s.shutdown)
		}
	case s.paused && int(s.inFlight) <= s.hub.rules.InFlight/2 && int(s.reads) < s.hub.rules.AttributeReads:
		s.paused = false
		s.wire.Resume()
	}
}

func (h *Hub) forget(m *message) {
	*m = message{done: m.done}
	h.messages.Put(m)
}
