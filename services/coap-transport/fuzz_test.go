package coaptransport

import (
	"bytes"
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/resource"
	"github.com/sluice-iot/sluice/transport"
)

// strict is a platform that knows the device T, refuses payloads that are not JSON objects by
// their first byte, and acknowledges the rest at once.
type strict struct{ device transport.Device }

func (p *strict) Cached(c transport.Credentials) (*transport.Device, bool, error) {
	if c.Token != "T" {
		return nil, true, fault.New(fault.Unauthenticated, "credentials are not known")
	}
	return &p.device, true, nil
}

func (p *strict) Authenticate(_ context.Context, c transport.Credentials) (*transport.Device, error) {
	d, _, err := p.Cached(c)
	return d, err
}

func (p *strict) PublishTelemetry(_ *transport.Device, _ transport.Origin, payload []byte, done func(error)) error {
	if len(payload) == 0 || payload[0] != '{' {
		return fault.New(fault.Invalid, "not an object")
	}
	done(nil)
	return nil
}

func (p *strict) PublishAttributes(d *transport.Device, from transport.Origin, payload []byte, done func(error)) error {
	return p.PublishTelemetry(d, from, payload, done)
}

func (p *strict) Room(*transport.Device) <-chan struct{} { return nil }

func (p *strict) ReadAttributes(context.Context, *transport.Device, transport.AttributeQuery) (transport.Attributes, error) {
	return transport.Attributes{}, nil
}

// wire keeps what is sent.
type wire struct{ sent [][]byte }

func (w *wire) Send(_ exchange.Endpoint, datagram []byte) {
	w.sent = append(w.sent, bytes.Clone(datagram))
}

// unplugged is a service without sockets.
func unplugged(t testing.TB, platform Platform) (*Service, *wire) {
	t.Helper()
	counts, err := newMetrics(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, w := &Service{started: time.Now(), metrics: counts}, &wire{}
	s.table = exchange.New(exchange.Limits{InHand: 100, Remembered: 100, Retransmitting: 100, Piggyback: time.Minute, RetryAfter: 5}, w, counts, func() {})
	s.resources = resource.New(platform, resource.Limits{PayloadBytes: 1000, AnswerBytes: 1000, Waiting: 10, Patience: time.Second, RetryAfter: 5}, counts, s.now)
	return s, w
}

// FuzzDatagram: whatever arrives, nothing panics, at most one datagram goes back, it is a CoAP
// message, and to a sender that is nobody's device it is hardly longer than what it sent.
func FuzzDatagram(f *testing.F) {
	good := path("api", "v1", "T", "telemetry")
	f.Add(confirmable(packet.Post, good, []byte(`{"t":1}`)), false)
	f.Add(confirmable(packet.Post, good, []byte(`nope`)), false)
	f.Add(confirmable(packet.Post, append(good, number(packet.Block1, 8|6)), []byte(`{`)), false)
	f.Add(confirmable(packet.Get, path("api", "v1", "T", "attributes"), nil), true)
	f.Add(confirmable(packet.Get, nil, nil), false)
	f.Add(message(packet.NonConfirmable, packet.Post, path("/api/v1/X/attributes"), []byte(`{}`)), true)
	f.Add([]byte{0x40, 0, 0, 1}, false)
	f.Add([]byte{0x4f, 1, 0, 1}, false)
	f.Fuzz(func(t *testing.T, datagram []byte, cut bool) {
		s, w := unplugged(t, &strict{})
		from := exchange.Endpoint{Peer: netip.MustParseAddrPort("192.0.2.1:40000")}
		s.handle(from, datagram, cut)
		s.resources.Close()
		if len(w.sent) > 1 {
			t.Fatalf("%d datagrams sent for one", len(w.sent))
		}
		if n := s.table.InHand(); n != 0 {
			t.Errorf("%d requests left in hand", n)
		}
		for _, d := range w.sent {
			m, err := packet.Parse(d)
			if err != nil {
				t.Fatalf("sent % x: %v", d, err)
			}
			if m.Code == packet.InternalServerError {
				t.Errorf("answered %s", m.Code)
			}
			if len(d) > len(datagram)+4 && m.Code == packet.Unauthorized {
				t.Errorf("%d bytes sent for %d of a stranger", len(d), len(datagram))
			}
		}
	})
}

func BenchmarkPost(b *testing.B) {
	s, w := unplugged(b, &strict{})
	d := confirmable(packet.Post, path("api", "v1", "T", "telemetry"), []byte(`{"temperature":21.5,"humidity":60}`))
	from := exchange.Endpoint{Peer: netip.MustParseAddrPort("192.0.2.1:40000")}
	b.ReportAllocs()
	for b.Loop() {
		d[3]++ // the message id
		s.handle(from, d, false)
		w.sent = w.sent[:0]
	}
}
