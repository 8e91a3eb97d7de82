package exchange

import (
	"time"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

// Expire does what is due at now: acknowledges requests that take long, sends unacknowledged
// messages again, forgets old exchanges. It returns when it is needed next; false: not until wake.
func (t *Table) Expire(now time.Duration) (next time.Duration, ok bool) {
	t.mu.Lock()
	next, ok = t.expire(now)
	t.unlock()
	return next, ok
}

func (t *Table) expire(now time.Duration) (next time.Duration, ok bool) {
	t.acknowledge(now)
	t.retransmit(now)
	for x := t.remembered.First(); x != nil && x.due <= now; x = t.remembered.First() {
		t.drop(x)
	}
	t.alarm = never
	if x := t.waiting.First(); x != nil {
		t.alarm = x.due
	}
	if x := t.remembered.First(); x != nil {
		t.alarm = min(t.alarm, x.due)
	}
	if len(t.own.queue) > 0 {
		t.alarm = min(t.alarm, t.own.queue[0].due)
	}
	return t.alarm, t.alarm != never
}

// acknowledge tells the peers of requests in hand for long that they need not send them again.
func (t *Table) acknowledge(now time.Duration) {
	for x := t.waiting.First(); x != nil && x.due <= now; x = t.waiting.First() {
		t.waiting.Remove(x)
		t.acknowledgeEmpty(x)
	}
}

func (t *Table) acknowledgeEmpty(x *Exchange) {
	x.phase = acknowledged
	x.reply = packet.AppendHeader(nil, packet.Acknowledgement, packet.Empty, x.id, nil)
	t.sink.Send(x.endpoint, x.reply)
}
