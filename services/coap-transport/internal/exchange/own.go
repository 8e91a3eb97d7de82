package exchange

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

// Outcome is what became of a message of ours.
type Outcome uint8

// The outcomes.
const (
	Acknowledged Outcome = iota
	Rejected             // the peer answered it with a reset
	Lost                 // it was not acknowledged, however often it was sent
)

// Notice is a message that the peer did not ask for just now: a notification (RFC 7641 §4.2), or, without a code, a ping.
type Notice struct {
	To          Endpoint
	Token       []byte
	ID          uint16
	Confirmable bool
	Answer      Answer
	// Done, if not nil, is told the outcome, at most once, without the table's lock. What is not confirmable has none unless the
	// peer rejects it, and is watched for that until Forget.
	Done func(Outcome)
}

// Notify sends n; a confirmable one again until it is acknowledged (RFC 7252 §4.2). It returns whether n waits for an
// acknowledgement: when too many do, a confirmable one does not.
func (t *Table) Notify(now time.Duration, n Notice) (waits bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.transmit(now, n)
}

// Forget ends the interest in a message of ours, which is not sent again and has no outcome any more.
func (t *Table) Forget(to Endpoint, id uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.own.remove(key{to, id})
}

func (t *Table) transmit(now time.Duration, n Notice) (waits bool) {
	waits = n.Confirmable && (len(t.own.queue) < t.limits.Retransmitting || n.Answer.Code == packet.Empty)
	kind := packet.NonConfirmable
	if waits {
		kind = packet.Confirmable
	}
	t.scratch = packet.AppendHeader(t.scratch[:0], kind, n.Answer.Code, n.ID, n.Token)
	t.scratch = n.Answer.Append(t.scratch)
	t.sink.Send(n.To, t.scratch)
	m := &ownMessage{key: key{n.To, n.ID}, done: n.Done, at: unqueued}
	switch {
	case waits:
		m.datagram = append([]byte(nil), t.scratch...)
		m.timeout = ackTimeout + rand.N(ackRandom)
		m.due = now + m.timeout
		t.own.add(m)
		t.ring(m.due)
	case n.Done != nil:
		t.own.add(m)
	}
	return waits
}

func (t *Table) retransmit(now time.Duration) {
	for len(t.own.queue) > 0 && t.own.queue[0].due <= now {
		m := t.own.queue[0]
		if m.sent == maxRetransmit {
			t.counts.Unacknowledged()
			t.end(m.key, Lost)
			continue
		}
		m.sent++
		m.timeout *= 2
		m.due = now + m.timeout
		heap.Fix(&t.own.queue, 0)
		t.sink.Send(m.endpoint, m.datagram)
	}
}

// ended is an outcome that is yet to be told.
type ended struct {
	endpoint Endpoint
	done     func(Outcome)
	outcome  Outcome
}

// end removes a message of ours; who cares is told by unlock.
func (t *Table) end(k key, o Outcome) {
	m := t.own.byKey[k]
	if m == nil {
		return
	}
	asked := m.at != unqueued
	if !asked && o == Acknowledged {
		return // nobody asked for it
	}
	t.own.remove(k)
	t.ended = append(t.ended, ended{endpoint: k.endpoint, done: m.done, outcome: o})
}

// unlock frees the lock and tells the outcomes there were.
func (t *Table) unlock() {
	told := t.ended
	t.ended = nil
	t.mu.Unlock()
	for _, e := range told {
		if t.limits.Reached != nil && (e.outcome == Acknowledged || e.outcome == Rejected) {
			t.limits.Reached(e.endpoint)
		}
		if e.done != nil {
			e.done(e.outcome)
		}
	}
}

// unqueued is the place of a message that is not sent again.
const unqueued = -1

// ownMessage is one that waits for its acknowledgement (RFC 7252 §4.2), or for being rejected.
type ownMessage struct {
	key
	datagram []byte
	timeout  time.Duration
	due      time.Duration
	sent     int // again, after the first time
	at       int // its place in the queue
	done     func(Outcome)
}

// ownMessages are found by message id and by what is due first.
type ownMessages struct {
	byKey map[key]*ownMessage
	queue dueQueue
}

func (o *ownMessages) add(one *ownMessage) {
	queued := one.datagram != nil
	o.remove(one.key)
	o.byKey[one.key] = one
	if queued {
		heap.Push(&o.queue, one)
	}
}

func (o *ownMessages) remove(k key) {
	one := o.byKey[k]
	if one == nil {
		return
	}
	delete(o.byKey, k)
	if one.at != unqueued {
		heap.Remove(&o.queue, one.at)
	}
}

// dueQueue is a heap.Interface: the first is due first.
type dueQueue []*ownMessage

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].due < q[j].due }

func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push is for package heap.
func (q *dueQueue) Push(one any) {
	m := one.(*ownMessage)
	m.at = len(*q)
	*q = append(*q, m)
}

// Pop is for package heap.
func (q *dueQueue) Pop() any {
	old := *q
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return m
}
