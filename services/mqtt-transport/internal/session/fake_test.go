package session

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/gateway"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
)

// fake is a platform that knows everyone but "wrong", and has what is published at once, or holds it.
type fake struct {
	gateway.Platform // what sessions of devices that are no gateways do not ask for

	mu          sync.Mutex
	reports     []string // "stage id"
	calls       []func(string)
	replies     []string
	packages    map[sluicepb.PackageType]*fakePackage
	lookups     int
	provisioned int
	device      transport.Device

	holding bool
	held    []func(error)
	full    bool
	taken   int
	opened  func(transport.Downlinks) // called when a session opens
}

func (f *fake) Authenticate(_ context.Context, c transport.Credentials) (*transport.Device, error) {
	if c.Username == "wrong" {
		return nil, fault.New(fault.Unauthenticated, "unknown")
	}
	d := f.device
	return &d, nil
}

func (f *fake) Open(_ context.Context, _ *transport.Device, _ string, d transport.Downlinks) (transport.Session, error) {
	if f.opened != nil {
		f.opened(d)
	}
	return handle{}, nil
}

func (f *fake) PublishTelemetry(_ *transport.Device, _ transport.Origin, data []byte, done func(error)) error {
	switch {
	case f.full:
		return bus.ErrFull
	case len(data) > 0 && data[0] != '{':
		return fault.New(fault.Invalid, "not an object")
	case f.holding:
		f.held = append(f.held, done)
	default:
		done(nil)
	}
	f.taken++
	return nil
}

func (f *fake) PublishAttributes(d *transport.Device, from transport.Origin, data []byte, done func(error)) error {
	return f.PublishTelemetry(d, from, data, done)
}

func (f *fake) Room(*transport.Device) <-chan struct{} { return nil }

func (f *fake) ReadAttributes(context.Context, *transport.Device, transport.AttributeQuery) (transport.Attributes, error) {
	return transport.Attributes{}, fault.New(fault.Unavailable, "away")
}

// fakePackage is a package and its data.
type fakePackage struct {
	transport.Package
	data []byte
}

func (f *fake) ReplyRPC(_ *transport.Device, id int32, _ transport.Origin, data []byte, done func(error)) error {
	f.replies = append(f.replies, fmt.Sprintf("%d %s", id, data))
	return f.take(done)
}

func (f *fake) ReportRPC(_ *transport.Device, _ ident.ID, r transport.RPCRequest, stage sluicepb.RpcStage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reports = append(f.reports, fmt.Sprintf("%s %d", strings.TrimPrefix(stage.String(), "RPC_"), r.ID))
}

func (f *fake) CallRPC(_ context.Context, _ *transport.Device, _ int32, _ transport.Origin, _ []byte, done func(error), answer func(string)) error {
	f.calls = append(f.calls, answer)
	return f.take(done)
}

func (f *fake) EncodeRPC(*transport.Device, transport.RPCRequest) ([]byte, error) {
	return nil, fault.New(fault.Invalid, "no schema")
}

func (f *fake) Claim(_ *transport.Device, _ transport.Origin, _ []byte, done func(error)) error {
	return f.take(done)
}

func (f *fake) take(done func(error)) error {
	if f.full {
		return bus.ErrFull
	}
	f.taken++
	done(nil)
	return nil
}

func (f *fake) Provision(_ context.Context, request []byte, _ bool, _ netip.Addr) ([]byte, bool, error) {
	f.mu.Lock()
	f.provisioned++
	f.mu.Unlock()
	if !bytes.Contains(request, []byte("Secret")) {
		return nil, false, fault.New(fault.Invalid, "no such request")
	}
	return []byte(`{"status":"SUCCESS"}`), true, nil
}

// asked counts what was answered by goroutines.
func (f *fake) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lookups + f.provisioned
}

func (f *fake) FindPackage(_ context.Context, _ *transport.Device, kind sluicepb.PackageType) (transport.Package, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups++
	p := f.packages[kind]
	if p == nil {
		return transport.Package{}, fault.New(fault.NotFound, "none is assigned")
	}
	p.Size, p.Title = int64(len(p.data)), kind.String()
	return p.Package, nil
}

func (f *fake) ReadPackage(_ context.Context, p transport.Package, offset, length int64) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data := f.packages[sluicepb.PackageType(sluicepb.PackageType_value[p.Title])].data
	offset = min(offset, int64(len(data)))
	return data[offset:min(offset+length, int64(len(data)))], nil
}

type handle struct{}

func (handle) ID() ident.ID      { return ident.ID{1} }
func (handle) Active()           {}
func (handle) SubscribeRPC(bool) {}
func (handle) Close()            {}

// wire counts what it is told, by whatever goroutine.
type wire struct {
	flushes, resumes, stops atomic.Int64
	peer                    Peer
}

func (w *wire) Flush()     { w.flushes.Add(1) }
func (w *wire) Resume()    { w.resumes.Add(1) }
func (w *wire) Stop()      { w.stops.Add(1) }
func (w *wire) Peer() Peer { return w.peer }

var testRules = Rules{
	ConnectBytes: 1000, PacketBytes: 1000, InFlight: 8, OutputBytes: 2000, AttributeReads: 2,
	Waiting: 4, Unacknowledged: 3, Downloads: 2, PackageBytes: 1 << 20,
	ConnectTimeout: 10 * time.Second, Inactivity: 100 * time.Second, Farewell: packet.ServerShuttingDown,
}

// connection is a session with what is around it.
type connection struct {
	*Session
	hub      *Hub
	platform *fake
	wire     *wire
	written  []byte
}

func open(t testing.TB) *connection {
	t.Helper()
	m, err := NewMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &connection{platform: &fake{}, wire: &wire{}}
	c.hub = NewHub(testRules, c.platform, m, slog.New(slog.DiscardHandler))
	c.Session = New(c.hub, c.wire)
	return c
}

// feed feeds b as a driver would, and returns what was not taken.
func (c *connection) feed(ctx context.Context, b []byte) (rest []byte, v Verdict) {
	for {
		before := c.wire.resumes.Load()
		n, v := c.Feed(ctx, b)
		b = b[n:]
		if v == Connect {
			v = c.Connect(ctx)
		}
		c.take()
		if v == Pause {
			if c.hub.Wait(); c.wire.resumes.Load() > before {
				continue // it was for attributes being read
			}
		}
		if v != More || n == 0 {
			return b, v
		}
	}
}

// take writes what there is to write.
func (c *connection) take() {
	for o := c.Take(true); o != nil; o = c.Wrote(o) {
		c.written = append(c.written, o.Bytes...)
	}
}

// connectBytes is a CONNECT of that version with a keep-alive of 10 s.
func connectBytes(v packet.Version) []byte {
	if v == packet.V5 {
		return []byte("\x10\x0e\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x01c")
	}
	return []byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x0a\x00\x01c")
}

func publishBytes(id uint16, payload string) []byte {
	return packet.AppendPublish(nil, packet.V311, 1, id, "v2/t", []byte(payload))
}

// accepted returns a session whose client was accepted.
func acceptedSession(t testing.TB, v packet.Version) *connection {
	t.Helper()
	c := open(t)
	if _, v := c.feed(t.Context(), connectBytes(v)); v != More {
		t.Fatalf("CONNECT: %d", v)
	}
	c.written = nil
	return c
}
