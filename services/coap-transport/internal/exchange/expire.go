package exchange

import (
	"container/heap"
	"time"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

// Expire does what is due at now: acknowledges requests that take long, sends unacknowledged
// responses again, forgets old exchanges. It returns when it is needed next; false: not until wake.
func (t *Table) Expire(now time.Duration) (next time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acknowledge(now)
	t.retransmit(now)
	for x := t.remembered.first; x != nil && x.due <= now; x = t.remembered.first {
		t.drop(x)
	}
	t.alarm = never
	if x := t.waiting.first; x != nil {
		t.alarm = x.due
	}
	if x := t.remembered.first; x != nil {
		t.alarm = min(t.alarm, x.due)
	}
	if len(t.separate.queue) > 0 {
		t.alarm = min(t.alarm, t.separate.queue[0].due)
	}
	return t.alarm, t.alarm != never
}

// acknowledge tells the peers of requests in hand for long that they need not send them again.
func (t *Table) acknowledge(now time.Duration) {
	for x := t.waiting.first; x != nil && x.due <= now; x = t.waiting.first {
		t.waiting.remove(x)
		x.phase = acknowledged
		x.reply = packet.AppendHeader(nil, packet.Acknowledgement, packet.Empty, x.id, nil)
		t.sink.Send(x.endpoint, x.reply)
	}
}

func (t *Table) retransmit(now time.Duration) {
	for len(t.separate.queue) > 0 && t.separate.queue[0].due <= now {
		s := t.separate.queue[0]
		if s.sent == maxRetransmit {
			t.separate.remove(s.key)
			t.counts.Unacknowledged()
			continue
		}
		s.sent++
		s.timeout *= 2
		s.due = now + s.timeout
		heap.Fix(&t.separate.queue, 0)
		t.sink.Send(s.endpoint, s.datagram)
	}
}

// separate is a response in a message of its own that waits for its acknowledgement (RFC 7252 §4.2).
type separate struct {
	key
	datagram []byte
	timeout  time.Duration
	due      time.Duration
	sent     int // again, after the first time
	at       int // its place in the queue
}

// separates are found by message id and by what is due first.
type separates struct {
	byKey map[key]*separate
	queue dueQueue
}

func (s *separates) add(one *separate) {
	s.remove(one.key)
	s.byKey[one.key] = one
	heap.Push(&s.queue, one)
}

func (s *separates) remove(k key) {
	if one := s.byKey[k]; one != nil {
		delete(s.byKey, k)
		heap.Remove(&s.queue, one.at)
	}
}

// dueQueue is a heap.Interface: the first is due first.
type dueQueue []*separate

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].due < q[j].due }

func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push is for package heap.
func (q *dueQueue) Push(one any) {
	s := one.(*separate)
	s.at = len(*q)
	*q = append(*q, s)
}

// Pop is for package heap.
func (q *dueQueue) Pop() any {
	old := *q
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return s
}
