package coaptransport

import (
	"bytes"
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// strict is a platform that knows the device T, refuses payloads that are not JSON objects by
// their first byte, and acknowledges the rest at once.
type strict struct{ device *transport.Device }

// newStrict takes its device from a Transport, which alone can make one.
func newStrict(t testing.TB) *strict {
	rig := transporttest.Start(t, nil)
	rig.Core.AddDevice("T")
	d, err := rig.Transport.Authenticate(context.Background(), transport.Credentials{Token: "T"})
	if err != nil {
		t.Fatal(err)
	}
	return &strict{d}
}

func (p *strict) Cached(c transport.Credentials) (*transport.Device, bool, error) {
	if c.Token != "T" {
		return nil, true, fault.New(fault.Unauthenticated, "credentials are not known")
	}
	return p.device, true, nil
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

func (p *strict) ReplyRPC(_ *transport.Device, _ int32, _ transport.Origin, _ []byte, done func(error)) error {
	done(nil)
	return nil
}

func (p *strict) ReportRPC(*transport.Device, ident.ID, transport.RPCRequest, sluicepb.RpcStage) {}

func (p *strict) CallRPC(_ context.Context, d *transport.Device, _ int32, from transport.Origin, payload []byte, done func(error), answer func(string)) error {
	if err := p.PublishTelemetry(d, from, payload, done); err != nil {
		return err
	}
	answer(`{"answer":true}`)
	return nil
}

func (p *strict) Claim(_ *transport.Device, _ transport.Origin, _ []byte, done func(error)) error {
	done(nil)
	return nil
}

func (p *strict) Provision(context.Context, []byte, bool, netip.Addr) ([]byte, bool, error) {
	return []byte(`{"status":"NOT_FOUND"}`), false, nil
}

func (p *strict) FindPackage(context.Context, *transport.Device, sluicepb.PackageType) (transport.Package, error) {
	return transport.Package{Size: 5000}, nil
}

func (p *strict) ReadPackage(_ context.Context, _ transport.Package, offset, length int64) ([]byte, error) {
	return make([]byte, max(0, min(length, 5000-offset))), nil
}

func (p *strict) Open(context.Context, *transport.Device, string, transport.Downlinks) (transport.Session, error) {
	return quiet{}, nil
}

func (p *strict) EncodeRPC(*transport.Device, transport.RPCRequest) ([]byte, error) { return nil, nil }

func (p *strict) SharedKey(context.Context, string) ([]byte, transport.Credentials, error) {
	return nil, transport.Credentials{}, fault.New(fault.Unauthenticated, "credentials are not known")
}

// quiet is a session that nothing comes from.
type quiet struct{}

func (quiet) ID() ident.ID      { return ident.ID{} }
func (quiet) Active()           {}
func (quiet) SubscribeRPC(bool) {}
func (quiet) Close()            {}

// wire keeps what is sent.
type wire struct {
	mu   sync.Mutex
	sent [][]byte
}

func (w *wire) Send(_ exchange.Endpoint, datagram []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, bytes.Clone(datagram))
}

// unplugged is a service without sockets.
func unplugged(t testing.TB, platform Platform) (*Service, *wire) {
	t.Helper()
	counts, err := newMetrics(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, w := &Service{started: time.Now(), metrics: counts, alarm: make(chan struct{}, 1)}, &wire{}
	if err := settings.Defaults(&s.config, nil); err != nil {
		t.Fatal(err)
	}
	s.config.MaxPayloadBytes = 1000
	s.build(platform, w)
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
	f.Add(confirmable(packet.Get, append(path("api", "v1", "T"), option{packet.URIPath, []byte("rpc")}), nil), false)
	f.Add(confirmable(packet.Get, append([]option{number(packet.Observe, 0)}, path("api", "v1", "T", "rpc")...), nil), false)
	f.Add(confirmable(packet.Get, append([]option{number(packet.Observe, 0)}, path("api", "v1", "T", "attributes")...), nil), false)
	f.Add(confirmable(packet.Get, append(path("fw", "T"), option{packet.URIQuery, []byte("size=100")}, number(packet.Block2, 1<<4|2)), nil), false)
	f.Add(confirmable(packet.Get, path("fw", "T"), nil), false)
	f.Add(confirmable(packet.Post, path("api", "v1", "provision"), []byte(`{}`)), false)
	f.Add(confirmable(packet.Post, append(path("api", "v1", "T", "claim"), option{packet.Echo, make([]byte, 12)}, option{packet.RequestTag, []byte("t")}), nil), false)
	f.Add([]byte{0x40, 0, 0, 1}, false)
	f.Add([]byte{0x4f, 1, 0, 1}, false)
	platform := newStrict(f)
	f.Fuzz(func(t *testing.T, datagram []byte, cut bool) {
		s, w := unplugged(t, platform)
		from := exchange.Endpoint{Peer: netip.MustParseAddrPort("192.0.2.1:40000")}
		s.handle(from, datagram, cut)
		s.resources.Close()
		s.relations.Close()
		if len(w.sent) > 2 { // an acknowledgement, and a longer answer that is to be acknowledged
			t.Fatalf("%d datagrams sent for one", len(w.sent))
		}
		if n := s.table.InHand(); n != 0 {
			t.Errorf("%d requests left in hand", n)
		}
		asked := false // for a proof: one block of several goes after a ping
		for _, d := range w.sent {
			m, err := packet.Parse(d)
			if err != nil {
				t.Fatalf("sent % x: %v", d, err)
			}
			asked = asked || m.Type == packet.Confirmable
			if !asked && len(d) > max(smallAnswer, 3*len(datagram)) {
				t.Errorf("%d bytes sent for %d without asking for a proof of the address", len(d), len(datagram))
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
	s, w := unplugged(b, newStrict(b))
	d := confirmable(packet.Post, path("api", "v1", "T", "telemetry"), []byte(`{"temperature":21.5,"humidity":60}`))
	from := exchange.Endpoint{Peer: netip.MustParseAddrPort("192.0.2.1:40000")}
	b.ReportAllocs()
	for b.Loop() {
		d[3]++ // the message id
		s.handle(from, d, false)
		w.sent = w.sent[:0]
	}
}
