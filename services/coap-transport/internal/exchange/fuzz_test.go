package exchange

import (
	"testing"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

// FuzzTable plays any sequence of requests, answers, acknowledgements and passing time, and
// checks what must hold after each step and that in the end nothing is left.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0x00, 0x40, 0x01, 0x80, 0x41, 0xc1, 0xc2, 0x42})
	f.Add([]byte{0x00, 0x00, 0x20, 0x20, 0xbf, 0x40, 0x40, 0xff})
	f.Fuzz(func(t *testing.T, steps []byte) {
		b := newBench(t, func(l *Limits) { l.InHand, l.Remembered, l.Retransmitting = 4, 3, 2 })
		var open []*Exchange
		for _, step := range steps {
			argument := uint16(step & 7)
			switch kind, confirmed := step>>6, packet.Type(step>>5&1); kind {
			case 0: // a request, of one of two contents
				if x := b.receive(peer, request(confirmed, packet.Post, argument, string('a'+rune(step>>4&1)))); x != nil {
					open = append(open, x)
				}
			case 1: // an answer
				if len(open) > 0 {
					i := int(argument) % len(open)
					open[i].Answer(b.now, Answer{Code: packet.Created, Remember: step&8 == 0})
					open = append(open[:i], open[i+1:]...)
				}
			case 2: // an acknowledgement of ours, or of nothing
				for i, d := range b.sent {
					if m, err := packet.Parse(d); err == nil && i == int(argument) {
						b.receive(peer, empty(packet.Acknowledgement, m.ID))
					}
				}
			default: // time
				b.after(ms << (step & 31 % 18))
			}
			check(t, b, len(open))
		}
		for _, x := range open {
			x.Answer(b.now, created)
		}
		for range 10 {
			b.after(Lifetime)
		}
		if left := len(b.table.exchanges) + len(b.table.own.byKey) + b.table.waiting.Len() + b.table.remembered.Len(); left != 0 {
			t.Errorf("%d things left", left)
		}
		if _, ok := b.table.Expire(b.now); ok {
			t.Error("an empty table wants to be looked at")
		}
	})
}

func check(t *testing.T, b *bench, open int) {
	t.Helper()
	table := b.table
	if table.inHand != open || open > 4 {
		t.Fatalf("%d in hand, %d were not answered", table.inHand, open)
	}
	if table.remembered.Len() > 3 || len(table.exchanges) > 4+3 {
		t.Fatalf("%d remembered, %d held", table.remembered.Len(), len(table.exchanges))
	}
	if len(table.own.queue) > 2 || len(table.own.queue) != len(table.own.byKey) {
		t.Fatalf("%d separate responses queued, %d known", len(table.own.queue), len(table.own.byKey))
	}
}
