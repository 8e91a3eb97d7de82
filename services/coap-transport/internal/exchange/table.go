package exchange

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

// Limits bound what peers can make a Table hold.
type Limits struct {
	// InHand is how many requests may be worked on at once; the next is answered 5.03.
	InHand int
	// Remembered is how many answered requests are kept to recognise their retransmissions; at
	// the bound the oldest is forgotten.
	Remembered int
	// Retransmitting is how many separate responses may wait for their acknowledgement; beyond
	// it they are sent once, non-confirmable.
	Retransmitting int
	// Piggyback is how long a confirmable request may take before it is acknowledged without
	// its response.
	Piggyback time.Duration
	// RetryAfter, in seconds, is the Max-Age of the Table's own 5.03.
	RetryAfter uint32
	// RememberedBytes bounds the replies of the remembered; at the bound, too, the oldest is forgotten.
	RememberedBytes int
	// Reached, which may be nil, is told that a peer acknowledged a message of ours, so that it is where it says. It is called without
	// the table's lock.
	Reached func(Endpoint)
}

// Counts are what a Table counts; each method must be safe for concurrent use and must not block.
type Counts interface {
	// Duplicate: a retransmission was recognised.
	Duplicate()
	// Overload: a request was answered 5.03 because too many were in hand.
	Overload()
	// Forgotten: the oldest remembered request made room for a new one before its time.
	Forgotten()
	// Unacknowledged: a separate response was given up after its last retransmission.
	Unacknowledged()
}

// Table is every exchange of a transport. Times are durations since a moment of the caller's
// choice and must not go back. Safe for concurrent use.
type Table struct {
	limits Limits
	sink   Sink
	counts Counts
	seed   maphash.Seed

	mu         sync.Mutex
	exchanges  map[key]*Exchange
	waiting    queue // confirmable, phase waiting, due: acknowledge
	inHand     int
	remembered queue // phase answered, due: forget
	replyBytes int   // of the remembered
	own        ownMessages
	ended      []ended // outcomes to be told of when the lock is free
	scratch    []byte
	// alarm is when Expire is next called for; earlier work rings wake.
	alarm time.Duration
	wake  func()
}

// never is an alarm that is not set.
const never = time.Duration(1<<63 - 1)

// New returns an empty Table. wake is called, with the table locked, when Expire is needed
// earlier than the last Expire said; it must not block.
func New(limits Limits, sink Sink, counts Counts, wake func()) *Table {
	return &Table{
		limits: limits, sink: sink, counts: counts, wake: wake,
		seed:      maphash.MakeSeed(),
		exchanges: map[key]*Exchange{},
		own:       ownMessages{byKey: map[key]*ownMessage{}},
		alarm:     never,
	}
}

// Receive takes a datagram that Parse accepted as m. It returns the exchange when m is a new
// request, which the caller then answers; everything else is dealt with here and returns nil.
func (t *Table) Receive(now time.Duration, from Endpoint, datagram []byte, m packet.Message) *Exchange {
	t.mu.Lock()
	x := t.receive(now, from, datagram, m)
	t.unlock()
	return x
}

func (t *Table) receive(now time.Duration, from Endpoint, datagram []byte, m packet.Message) *Exchange {
	switch {
	case m.Type == packet.Acknowledgement:
		t.end(key{from, m.ID}, Acknowledged)
	case m.Type == packet.Reset:
		t.end(key{from, m.ID}, Rejected)
	case m.Code.IsRequest():
		return t.request(now, from, datagram, m)
	case m.Type == packet.Confirmable: // a ping, or a response nobody asked for (RFC 7252 §4.2, §4.3)
		t.reset(from, m.ID)
	}
	return nil
}

// Reject answers a confirmable message that could not be parsed (RFC 7252 §4.2).
func (t *Table) Reject(from Endpoint, id uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reset(from, id)
}

// InHand returns how many requests are being worked on.
func (t *Table) InHand() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inHand
}

func (t *Table) reset(to Endpoint, id uint16) {
	t.scratch = packet.AppendHeader(t.scratch[:0], packet.Reset, packet.Empty, id, nil)
	t.sink.Send(to, t.scratch)
}

func (t *Table) request(now time.Duration, from Endpoint, datagram []byte, m packet.Message) *Exchange {
	k := key{from, m.ID}
	fingerprint := maphash.Bytes(t.seed, datagram)
	if old := t.exchanges[k]; old != nil {
		if old.fingerprint == fingerprint && !(old.phase == answered && old.due <= now) {
			t.duplicate(old)
			return nil
		}
		// Another message under an id that is not free yet: a device that started anew counts
		// from the beginning again. To answer it with the old message's answer would
		// acknowledge what was never taken on.
		t.drop(old)
	}
	x := &Exchange{
		table: t, key: k, fingerprint: fingerprint, due: now + t.limits.Piggyback,
		confirmable: m.Type == packet.Confirmable, tokenSize: uint8(len(m.Token)),
	}
	copy(x.token[:], m.Token)
	if t.inHand >= t.limits.InHand {
		t.counts.Overload()
		t.respond(x, Answer{Code: packet.ServiceUnavailable, MaxAge: t.limits.RetryAfter})
		return nil
	}
	t.inHand++
	t.exchanges[k] = x
	if x.confirmable {
		t.waiting.Push(x)
		t.ring(x.due)
	}
	return x
}

// duplicate deals with a retransmission (RFC 7252 §4.5): the same answer, or silence while there is none.
func (t *Table) duplicate(x *Exchange) {
	t.counts.Duplicate()
	if x.reply != nil {
		t.sink.Send(x.endpoint, x.reply)
	}
}

// drop takes x out of the table; if it is still in hand its answer will not be sent.
func (t *Table) drop(x *Exchange) {
	switch {
	case x.phase == waiting && x.confirmable:
		t.waiting.Remove(x)
	case x.phase == answered:
		t.remembered.Remove(x)
		t.replyBytes -= len(x.reply)
	}
	x.phase = superseded
	delete(t.exchanges, x.key)
}

// Answer sends a, in the form that the time passed asks for (RFC 7252 §5.2): with the
// acknowledgement, or after it in a message of its own. It returns false, having done nothing,
// when x was answered before.
func (x *Exchange) Answer(now time.Duration, a Answer) bool {
	t := x.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if x.closed {
		return false
	}
	x.closed = true
	t.inHand--
	t.settle(now, x, a)
	return true
}

func (t *Table) settle(now time.Duration, x *Exchange, a Answer) {
	switch {
	case x.phase == superseded:
		return
	case x.phase == acknowledged:
		t.respondSeparately(now, x, a)
	case x.confirmable && a.Separate && !(a.HasBlock2 && t.probe(now, x)):
		t.waiting.Remove(x)
		t.acknowledgeEmpty(x)
		t.respondSeparately(now, x, a)
	default:
		t.respond(x, a)
		if x.confirmable {
			t.waiting.Remove(x)
			x.reply = append([]byte(nil), t.scratch...)
		}
	}
	if !a.Remember {
		delete(t.exchanges, x.key)
		return
	}
	x.phase, x.due = answered, now+Lifetime
	t.remembered.Push(x)
	t.replyBytes += len(x.reply)
	for t.remembered.Len() > t.limits.Remembered || t.replyBytes > t.limits.RememberedBytes && t.remembered.Len() > 1 {
		t.counts.Forgotten()
		t.drop(t.remembered.First())
	}
	t.ring(t.remembered.First().due)
}

// respond sends a with the acknowledgement of a confirmable request, or as the non-confirmable
// answer to a non-confirmable one, and leaves the datagram in scratch.
func (t *Table) respond(x *Exchange, a Answer) {
	kind, id := packet.Acknowledgement, x.id
	if !x.confirmable {
		kind, id = packet.NonConfirmable, t.ownID(x)
	}
	t.scratch = packet.AppendHeader(t.scratch[:0], kind, a.Code, id, x.token[:x.tokenSize])
	t.scratch = a.Append(t.scratch)
	t.sink.Send(x.endpoint, t.scratch)
}

// probe pings the peer of x, so that its reset shows that it is where it says; false: too many messages of ours wait already.
func (t *Table) probe(now time.Duration, x *Exchange) bool {
	if len(t.own.queue) >= t.limits.Retransmitting {
		return false
	}
	return t.transmit(now, Notice{To: x.endpoint, ID: t.ownID(x), Confirmable: true})
}

func (t *Table) respondSeparately(now time.Duration, x *Exchange, a Answer) {
	t.transmit(now, Notice{To: x.endpoint, Token: x.token[:x.tokenSize], ID: t.ownID(x), Confirmable: true, Answer: a})
}

// ownID is the message id of the one message of ours that x may cause beside its
// acknowledgement. A peer's ids are unique for as long as ours have to be (RFC 7252 §4.4), so
// ours are the peer's, shifted by what belongs to the endpoint: no counter per peer to keep.
func (t *Table) ownID(x *Exchange) uint16 {
	return x.id ^ uint16(maphash.Comparable(t.seed, x.endpoint))
}

// ring has Expire called at due, unless it will be called before.
func (t *Table) ring(due time.Duration) {
	if due < t.alarm {
		t.alarm = due
		t.wake()
	}
}
