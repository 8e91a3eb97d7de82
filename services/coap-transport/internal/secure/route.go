package secure

import (
	"time"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
)

const (
	helloFromPeer = 1 // the first byte of a handshake's first message
	majorVersion  = version12 >> 8
)

// record is what is read of a datagram's first record.
type record struct {
	kind   byte
	epoch  uint16
	hello  bool // it begins a handshake
	cid    connectionID
	hasCID bool
}

// parse reads the head of a datagram; false: it is no DTLS record.
func parse(d []byte) (r record, ok bool) {
	if len(d) < headerSize || d[versionAt] != majorVersion || d[0] < typeChangeCipher || d[0] > typeCID {
		return r, false
	}
	r.kind, r.epoch = d[0], uint16(numberOf(d)>>epochShift)
	if r.kind == typeCID {
		if len(d) < headerSize+cidSize {
			return r, false
		}
		r.hasCID = true
		copy(r.cid[:], d[cidAt:])
		return r, true
	}
	r.hello = r.kind == typeHandshake && r.epoch == 0 && len(d) > headerSize && d[headerSize] == helloFromPeer
	return r, true
}

// route gives a datagram to the connections it may be of. It never waits.
func (s *Server) route(from exchange.Endpoint, datagram []byte, cut bool) {
	r, ok := parse(datagram)
	if !ok || cut {
		return
	}
	now := time.Now()
	s.mu.Lock()
	first, second := s.whose(r, from)
	if first == nil && r.hello && !s.closed {
		first = s.begin(from, now)
	}
	if first != nil && !first.pending {
		first.at = now
		s.used.Remove(first)
		s.used.Push(first)
	}
	s.mu.Unlock()
	for _, one := range [...]*session{first, second} {
		if one != nil && !one.receive(from, datagram) {
			s.Counts.Unsent()
		}
	}
}

// whose finds the connections that may have sent r. A peer that starts anew has, until its handshake is done, two: nothing that is
// not encrypted ends the old one.
func (s *Server) whose(r record, from exchange.Endpoint) (first, second *session) {
	if r.hasCID {
		return s.byCID[r.cid], nil
	}
	made, making := s.settled[from], s.pending[from]
	switch {
	case r.epoch == 0 && making != nil:
		return making, nil
	case r.epoch == 0 && r.hello:
		return nil, nil
	case made != nil:
		return made, making
	}
	return making, nil
}

// begin makes a session for a handshake from a peer; nil: it may have none now.
func (s *Server) begin(from exchange.Endpoint, now time.Time) *session {
	address := from.Peer.Addr()
	if now.Sub(s.counted) >= time.Minute {
		clear(s.failures)
		s.counted = now
	}
	if s.failures[address] >= s.Failures || s.perAddress[address] >= s.HandshakesPerAddress {
		s.Counts.Handshake("refused")
		return nil
	}
	if s.making.Len() >= s.Handshakes {
		s.Counts.Handshake("overtaken")
		s.drop(s.making.First())
	}
	s.number++
	one := newSession(s, from, s.number)
	one.at, one.pending = now, true
	s.pending[from] = one
	s.perAddress[address]++
	s.making.Push(one)
	s.running.Go(one.run)
	return one
}

// settle makes a pending session one of those that are made; false: there is no room, or it was dropped.
func (s *Server) settle(one *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending[one.from] != one || s.closed {
		return false
	}
	now := time.Now()
	if old := s.settled[one.from]; old != nil && (old.cid == (connectionID{}) || old.holder == one.holder) {
		s.drop(old)
	} else if s.used.Len() >= s.Sessions {
		if oldest := s.used.First(); oldest == nil || now.Sub(oldest.at) < s.EvictAfter {
			return false
		}
		s.drop(s.used.First())
	}
	s.leavePending(one)
	one.pending, one.at = false, now
	s.settled[one.from] = one
	s.byNumber[one.number] = one
	s.used.Push(one)
	s.Counts.Sessions(1)
	return true
}

// failed counts an attempt to be somebody that did not succeed.
func (s *Server) failed(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if address := one.from.Peer.Addr(); len(s.failures) < s.Sessions || s.failures[address] > 0 {
		s.failures[address]++
	}
}

// drop forgets one and has it end.
func (s *Server) drop(one *session) {
	if one.pending {
		s.leavePending(one)
		one.pending = false
	} else if s.byNumber[one.number] == one {
		delete(s.byNumber, one.number)
		if s.settled[one.from] == one {
			delete(s.settled, one.from)
		}
		s.used.Remove(one)
		s.Counts.Sessions(-1)
	}
	if s.byCID[one.cid] == one {
		delete(s.byCID, one.cid)
	}
	one.cancel()
}

func (s *Server) leavePending(one *session) {
	if s.pending[one.from] != one {
		return
	}
	delete(s.pending, one.from)
	address := one.from.Peer.Addr()
	if s.perAddress[address]--; s.perAddress[address] == 0 {
		delete(s.perAddress, address)
	}
	s.making.Remove(one)
}
