package exchange

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

const (
	ms  = time.Millisecond
	sec = time.Second
)

// bench is a Table with everything around it in plain view.
type bench struct {
	t     *testing.T
	table *Table
	now   time.Duration
	sent  [][]byte
	wakes int

	duplicates, overloads, forgotten, unacknowledged int
}

func (b *bench) Send(_ Endpoint, datagram []byte) { b.sent = append(b.sent, bytes.Clone(datagram)) }
func (b *bench) Duplicate()                       { b.duplicates++ }
func (b *bench) Overload()                        { b.overloads++ }
func (b *bench) Forgotten()                       { b.forgotten++ }
func (b *bench) Unacknowledged()                  { b.unacknowledged++ }

func newBench(t *testing.T, change func(*Limits)) *bench {
	t.Helper()
	limits := Limits{InHand: 10, Remembered: 10, Retransmitting: 10, RememberedBytes: 1 << 20, Piggyback: 500 * ms, RetryAfter: 5}
	if change != nil {
		change(&limits)
	}
	b := &bench{t: t}
	b.table = New(limits, b, b, func() { b.wakes++ })
	return b
}

var peer = Endpoint{Peer: netip.MustParseAddrPort("192.0.2.1:40000")}

func request(kind packet.Type, code packet.Code, id uint16, payload string) []byte {
	d := packet.AppendHeader(nil, kind, code, id, []byte{byte(id), 9})
	return packet.AppendPayload(packet.AppendOption(d, 0, packet.URIPath, []byte("x")), []byte(payload))
}

func empty(kind packet.Type, id uint16) []byte {
	return packet.AppendHeader(nil, kind, packet.Empty, id, nil)
}

func (b *bench) receive(from Endpoint, datagram []byte) *Exchange {
	b.t.Helper()
	m, err := packet.Parse(datagram)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.table.Receive(b.now, from, datagram, m)
}

// after lets time pass and has the table do what is due by then.
func (b *bench) after(d time.Duration) {
	b.now += d
	b.table.Expire(b.now)
}

// take returns what was sent since the last take, as text such as "ACK 2.01 #7".
func (b *bench) take() []string {
	b.t.Helper()
	var all []string
	for _, d := range b.sent {
		all = append(all, describe(b.t, d))
	}
	b.sent = nil
	return all
}

func describe(t *testing.T, datagram []byte) string {
	t.Helper()
	m, err := packet.Parse(datagram)
	if err != nil {
		t.Fatalf("sent % x: %v", datagram, err)
	}
	kind := [...]string{"CON", "NON", "ACK", "RST"}[m.Type]
	if m.Type == packet.Confirmable || m.Type == packet.NonConfirmable {
		return fmt.Sprintf("%s %s", kind, m.Code) // the id is ours to choose
	}
	return fmt.Sprintf("%s %s #%d", kind, m.Code, m.ID)
}

func (b *bench) expect(want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.take()); diff != "" {
		b.t.Errorf("sent (-want +got):\n%s", diff)
	}
}

var created = Answer{Code: packet.Created, Remember: true}

func TestPiggybacked(t *testing.T) {
	b := newBench(t, nil)
	x := b.receive(peer, request(packet.Confirmable, packet.Post, 7, "a"))
	b.expect()
	if !x.Answer(b.now, created) || x.Answer(b.now, created) {
		t.Error("the first answer counts, a second does not")
	}
	m, err := packet.Parse(b.sent[0])
	if err != nil || !bytes.Equal(m.Token, []byte{7, 9}) {
		t.Errorf("token % x, %v", m.Token, err)
	}
	b.expect("ACK 2.01 #7")
}

func TestRetransmissionGetsTheSameAnswer(t *testing.T) {
	b := newBench(t, nil)
	d := request(packet.Confirmable, packet.Post, 7, "a")
	x := b.receive(peer, d)
	if b.receive(peer, d) != nil {
		t.Fatal("a retransmission was taken for a new request")
	}
	b.expect() // in progress: silence
	x.Answer(b.now, Answer{Code: packet.ServiceUnavailable, MaxAge: 5, Remember: true})
	first := b.sent[0]
	b.now += 100 * sec
	if b.receive(peer, d) != nil {
		t.Fatal("a retransmission was taken for a new request")
	}
	if !bytes.Equal(first, b.sent[1]) {
		t.Errorf("first % x, then % x", first, b.sent[1])
	}
	if b.duplicates != 2 {
		t.Errorf("%d duplicates counted", b.duplicates)
	}
}

func TestLifetimeEnds(t *testing.T) {
	for _, swept := range []bool{true, false} {
		b := newBench(t, nil)
		d := request(packet.Confirmable, packet.Post, 7, "a")
		b.receive(peer, d).Answer(b.now, created)
		b.now += Lifetime
		if swept {
			b.table.Expire(b.now)
		}
		if b.receive(peer, d) == nil {
			t.Errorf("swept %v: after its lifetime a message id is free again", swept)
		}
	}
}

// A device that lost its memory counts message ids from the beginning again. What it sends then
// is new, whatever its id: the old answer would acknowledge what nobody stored.
func TestReusedMessageIDIsANewRequest(t *testing.T) {
	b := newBench(t, nil)
	b.receive(peer, request(packet.Confirmable, packet.Post, 7, "before")).Answer(b.now, created)
	b.take()
	x := b.receive(peer, request(packet.Confirmable, packet.Post, 7, "after"))
	if x == nil {
		t.Fatal("the new message was answered with the old one's acknowledgement")
	}
	again := b.receive(peer, request(packet.Confirmable, packet.Post, 7, "third"))
	x.Answer(b.now, created)
	b.expect() // superseded while in hand: its acknowledgement would be taken for the third's
	again.Answer(b.now, created)
	b.expect("ACK 2.01 #7")
	if n := b.table.InHand(); n != 0 {
		t.Errorf("%d in hand", n)
	}
}

func TestOtherEndpointsAreOthers(t *testing.T) {
	b := newBench(t, nil)
	d := request(packet.Confirmable, packet.Post, 7, "a")
	others := []Endpoint{
		peer,
		{Peer: netip.MustParseAddrPort("192.0.2.1:40001")},
		{Peer: netip.MustParseAddrPort("192.0.2.2:40000")},
		{Peer: peer.Peer, Socket: 1},
	}
	for _, from := range others {
		if b.receive(from, d) == nil {
			t.Errorf("%v was taken for another", from)
		}
	}
}

func TestSeparateResponse(t *testing.T) {
	b := newBench(t, nil)
	d := request(packet.Confirmable, packet.Post, 7, "a")
	x := b.receive(peer, d)
	b.after(499 * ms)
	b.expect()
	b.after(1 * ms)
	b.expect("ACK 0.00 #7")
	b.receive(peer, d)
	b.expect("ACK 0.00 #7") // a duplicate gets the same acknowledgement
	b.now += sec
	x.Answer(b.now, created)
	separate, err := packet.Parse(b.sent[0])
	if err != nil || !bytes.Equal(separate.Token, []byte{7, 9}) {
		t.Fatalf("separate response %+v, %v", separate, err)
	}
	b.expect("CON 2.01")
	b.receive(peer, d)
	b.expect("ACK 0.00 #7")
	b.receive(peer, empty(packet.Acknowledgement, separate.ID))
	b.after(100 * sec)
	b.expect()
}

func TestSeparateResponseIsSentAgain(t *testing.T) {
	b := newBench(t, nil)
	x := b.receive(peer, request(packet.Confirmable, packet.Post, 7, "a"))
	b.after(500 * ms)
	x.Answer(b.now, created)
	b.take()
	start := b.now
	var at []time.Duration
	for b.unacknowledged == 0 && b.now < start+200*sec {
		b.after(10 * ms)
		for range b.take() {
			at = append(at, b.now-start)
		}
	}
	if len(at) != maxRetransmit {
		t.Fatalf("sent again at %v", at)
	}
	timeout := at[0]
	if timeout < ackTimeout || timeout > ackTimeout+ackRandom+10*ms {
		t.Errorf("first after %v", timeout)
	}
	for i, multiple := range []time.Duration{1, 3, 7, 15} { // RFC 7252 §4.2: each wait is twice the last
		if d := at[i] - multiple*timeout; d < -100*ms*multiple || d > 100*ms*multiple {
			t.Errorf("retransmission %d after %v, want about %v", i+1, at[i], multiple*timeout)
		}
	}
	if gaveUp := b.now - start; gaveUp > 93*sec+100*ms || gaveUp < 62*sec {
		t.Errorf("given up after %v", gaveUp)
	}
}

func TestResetEndsRetransmission(t *testing.T) {
	b := newBench(t, nil)
	x := b.receive(peer, request(packet.Confirmable, packet.Post, 7, "a"))
	b.after(500 * ms)
	x.Answer(b.now, created)
	m, err := packet.Parse(b.sent[1])
	if err != nil {
		t.Fatal(err)
	}
	b.take()
	b.receive(Endpoint{Peer: peer.Peer, Socket: 1}, empty(packet.Reset, m.ID)) // somebody else's
	b.after(3 * sec)
	b.expect("CON 2.01")
	b.receive(peer, empty(packet.Reset, m.ID))
	b.after(100 * sec)
	b.expect()
}

func TestTooManyRetransmitting(t *testing.T) {
	b := newBench(t, func(l *Limits) { l.Retransmitting = 1 })
	x := b.receive(peer, request(packet.Confirmable, packet.Post, 7, "a"))
	y := b.receive(peer, request(packet.Confirmable, packet.Post, 8, "a"))
	b.after(500 * ms)
	b.take()
	x.Answer(b.now, created)
	y.Answer(b.now, created)
	b.expect("CON 2.01", "NON 2.01")
}

func TestNonConfirmable(t *testing.T) {
	b := newBench(t, nil)
	d := request(packet.NonConfirmable, packet.Post, 7, "a")
	x := b.receive(peer, d)
	b.after(2 * sec)
	b.expect() // there is nothing to acknowledge
	x.Answer(b.now, created)
	b.expect("NON 2.01")
	if b.receive(peer, d) != nil {
		t.Error("a duplicate was taken for a new request")
	}
	b.expect() // RFC 7252 §4.5: duplicates are ignored silently
}

func TestOwnMessageIDsAreUniquePerPeer(t *testing.T) {
	b := newBench(t, func(l *Limits) { l.Remembered = 1 << 16 })
	seen := map[uint16]bool{}
	for id := range 1 << 16 {
		b.receive(peer, request(packet.NonConfirmable, packet.Post, uint16(id), "a")).Answer(b.now, created)
		m, err := packet.Parse(b.sent[0])
		if err != nil || seen[m.ID] {
			t.Fatalf("id %d twice, %v", m.ID, err)
		}
		seen[m.ID] = true
		b.sent = nil
	}
}

func TestMessagesThatAreNoRequests(t *testing.T) {
	b := newBench(t, nil)
	b.receive(peer, empty(packet.Confirmable, 3)) // ping
	b.expect("RST 0.00 #3")
	b.receive(peer, empty(packet.NonConfirmable, 3))
	b.receive(peer, empty(packet.Acknowledgement, 3))
	b.receive(peer, empty(packet.Reset, 3))
	b.receive(peer, request(packet.NonConfirmable, packet.Content, 4, "a"))
	b.receive(peer, request(packet.Acknowledgement, packet.Content, 4, "a"))
	b.expect()
	b.receive(peer, request(packet.Confirmable, packet.Content, 4, "a"))
	b.expect("RST 0.00 #4")
	b.table.Reject(peer, 5)
	b.expect("RST 0.00 #5")
}

func TestTooManyInHand(t *testing.T) {
	b := newBench(t, func(l *Limits) { l.InHand = 1 })
	x := b.receive(peer, request(packet.Confirmable, packet.Post, 7, "a"))
	if b.receive(peer, request(packet.Confirmable, packet.Post, 8, "a")) != nil {
		t.Error("taken on beyond the bound")
	}
	m, err := packet.Parse(b.sent[0])
	if err != nil {
		t.Fatal(err)
	}
	for o, value := range m.Options.All() {
		if n, _ := packet.Uint(value); o != packet.MaxAge || n != 5 {
			t.Errorf("option %d = %d", o, n)
		}
	}
	b.expect("ACK 5.03 #8")
	x.Answer(b.now, created)
	if b.receive(peer, request(packet.Confirmable, packet.Post, 8, "a")) == nil {
		t.Error("refused although there is room, or the refusal was remembered")
	}
	if b.overloads != 1 {
		t.Errorf("%d overloads", b.overloads)
	}
}

func TestOldestIsForgotten(t *testing.T) {
	b := newBench(t, func(l *Limits) { l.Remembered = 2 })
	for id := range uint16(3) {
		b.receive(peer, request(packet.Confirmable, packet.Post, id, "a")).Answer(b.now, created)
	}
	if b.forgotten != 1 {
		t.Errorf("%d forgotten", b.forgotten)
	}
	if b.receive(peer, request(packet.Confirmable, packet.Post, 2, "a")) != nil {
		t.Error("the newest was forgotten")
	}
	if b.receive(peer, request(packet.Confirmable, packet.Post, 0, "a")) == nil {
		t.Error("the oldest was kept")
	}
	if n := len(b.table.exchanges); n != 3 {
		t.Errorf("%d exchanges held", n)
	}
}

func TestWithoutEffectIsNotRemembered(t *testing.T) {
	b := newBench(t, nil)
	d := request(packet.Confirmable, packet.Get, 7, "")
	b.receive(peer, d).Answer(b.now, Answer{Code: packet.Content})
	if b.receive(peer, d) == nil {
		t.Error("a read that was answered takes up memory")
	}
	if len(b.table.exchanges) != 1 {
		t.Errorf("%d exchanges held", len(b.table.exchanges))
	}
}

// TestWakes: the caller is woken only when there is something to do before it would look.
func TestWakes(t *testing.T) {
	b := newBench(t, nil)
	if _, ok := b.table.Expire(0); ok {
		t.Error("an empty table wants to be looked at")
	}
	for id := range uint16(5) {
		b.receive(peer, request(packet.Confirmable, packet.Post, id, "a")).Answer(b.now, created)
	}
	if b.wakes != 1 {
		t.Errorf("woken %d times, want once", b.wakes)
	}
	b.now = 500 * ms
	if next, ok := b.table.Expire(b.now); !ok || next != Lifetime {
		t.Errorf("next at %v, %v; want the end of the lifetime", next, ok)
	}
	b.now = Lifetime
	if next, ok := b.table.Expire(b.now); ok {
		t.Errorf("next at %v with nothing left", next)
	}
	if len(b.table.exchanges) != 0 {
		t.Errorf("%d exchanges held", len(b.table.exchanges))
	}
}

type discard struct{}

func (discard) Send(Endpoint, []byte) {}
func (discard) Duplicate()            {}
func (discard) Overload()             {}
func (discard) Forgotten()            {}
func (discard) Unacknowledged()       {}

func BenchmarkExchange(b *testing.B) {
	table := New(Limits{InHand: 10, Remembered: 10_000, Piggyback: sec}, discard{}, discard{}, func() {})
	d := request(packet.Confirmable, packet.Post, 7, `{"temperature":21.5,"humidity":60}`)
	m, err := packet.Parse(d)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.ID++
		table.Receive(0, peer, d, m).Answer(0, created)
	}
}

// TestABlockOfSeveralProvesByAPing: there are clients that fetch no further blocks of a response that comes apart.
func TestABlockOfSeveralProvesByAPing(t *testing.T) {
	var reached []Endpoint
	b := newBench(t, func(l *Limits) { l.Reached = func(e Endpoint) { reached = append(reached, e) } })
	x := b.receive(peer, request(packet.Confirmable, packet.Get, 7, "a"))
	x.Answer(b.now, Answer{Code: packet.Content, HasBlock2: true, Separate: true})
	ping, err := packet.Parse(b.sent[0])
	if err != nil {
		t.Fatal(err)
	}
	b.expect("CON 0.00", "ACK 2.05 #7")
	if len(reached) != 0 {
		t.Errorf("%v is known before it answered", reached)
	}
	b.receive(peer, empty(packet.Reset, ping.ID))
	if len(reached) != 1 || reached[0] != peer {
		t.Errorf("%v is known", reached)
	}
	b.after(100 * sec)
	b.expect()
}
