package reach

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
)

func at(address string, port uint16) exchange.Endpoint {
	return exchange.Endpoint{Peer: netip.AddrPortFrom(netip.MustParseAddr(address), port)}
}

func newBook(now *time.Duration) *Book {
	return New(Limits{Factor: 3, SmallBytes: 136, Trials: 2, Known: 10}, func() time.Duration { return *now })
}

func TestLongAnswers(t *testing.T) {
	var now time.Duration
	b := newBook(&now)
	here, there := at("192.0.2.1", 1), at("192.0.2.2", 1)
	for _, c := range []struct {
		to              exchange.Endpoint
		request, answer int
		want            Verdict
	}{
		{here, 40, 136, Free},
		{here, 100, 300, Free},
		{here, 40, 137, Prove},
		{at("192.0.2.1", 2), 40, 1000, Prove},
		{here, 40, 1000, Refuse},
		{at("192.0.2.1", 3), 40, 1000, Refuse},
		{there, 40, 1000, Prove},
		{exchange.Endpoint{Session: 1}, 40, 1000, Free},
	} {
		if got := b.Judge(c.to, c.request, c.answer); got != c.want {
			t.Errorf("%d to %v for %d: %d, want %d", c.answer, c.to, c.request, got, c.want)
		}
	}
	b.Reached(here)
	if b.Judge(here, 40, 1000) != Free || b.Judge(at("192.0.2.1", 2), 40, 1000) != Refuse {
		t.Error("a proof is one of its endpoint, and of no other")
	}
	now += 15 * time.Minute
	if b.Judge(here, 40, 1000) != Free {
		t.Error("forgotten too early")
	}
	now += 21 * time.Minute
	b.Reached(there)
	now += 11 * time.Minute
	if b.Judge(here, 40, 1000) != Prove {
		t.Error("still known")
	}
}

func TestWhatIsKnownIsBounded(t *testing.T) {
	var now time.Duration
	b := newBook(&now)
	for port := range uint16(1000) {
		b.Reached(at("192.0.2.1", port+1))
		b.Judge(at(netip.AddrFrom4([4]byte{198, 51, byte(port >> 8), byte(port)}).String(), 1), 1, 1000)
	}
	if len(b.known)+len(b.before) > 10 || len(b.trials) > 10 {
		t.Errorf("%d and %d known, %d trials", len(b.known), len(b.before), len(b.trials))
	}
}

func TestEcho(t *testing.T) {
	var now time.Duration
	b := newBook(&now)
	here := at("192.0.2.1", 1)
	echo := b.Echo(here)
	for name, refused := range map[string]bool{
		"of another address": b.Accept(at("192.0.2.2", 1), echo), "of another port": b.Accept(at("192.0.2.1", 2), echo),
		"empty": b.Accept(here, nil), "changed": b.Accept(here, append([]byte{1}, echo[1:]...)), "of another": b.Accept(here, newBook(&now).Echo(here)),
	} {
		if refused {
			t.Errorf("accepted one %s", name)
		}
	}
	if !b.Accept(here, echo) {
		t.Error("its own is refused")
	}
	now += 6 * time.Minute
	if b.Accept(here, echo) {
		t.Error("accepted one that is old")
	}
}

func FuzzEcho(f *testing.F) {
	f.Add([]byte("123456789012"))
	var now time.Duration
	b := newBook(&now)
	f.Fuzz(func(t *testing.T, value []byte) {
		if b.Accept(at("192.0.2.1", 1), value) {
			t.Errorf("% x was guessed", value)
		}
	})
}
