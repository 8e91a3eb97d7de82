package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// fake is a platform that knows every device by its name, and does with each what its test says.
type fake struct {
	mu sync.Mutex
	// stalled devices are found when the channel is closed; refused ones are not; full ones have no room until the channel is closed.
	stalled map[string]chan struct{}
	refused map[string]error
	full    map[string]chan struct{}
	// failing devices' uplinks end with the error, held ones' when they are released.
	failing map[string]error
	held    map[string][]func(error)
	limited map[string]bool

	found     []string // devices that were asked for, with their kind
	taken     []string // uplinks, as name=payload
	replies   []string
	sessions  map[string]*handle // the newest of each device
	opened    int
	closed    int
	shared    []telemetry.KeyValue
	reading   int // attribute reads under way
	mostReads int
	readStall chan struct{}
}

func newFake() *fake {
	return &fake{
		stalled: map[string]chan struct{}{}, refused: map[string]error{}, full: map[string]chan struct{}{},
		failing: map[string]error{}, held: map[string][]func(error){}, limited: map[string]bool{}, sessions: map[string]*handle{},
	}
}

func (f *fake) Behind(ctx context.Context, _ *transport.Device, name, kind string) (*transport.Device, error) {
	f.mu.Lock()
	stalled, err := f.stalled[name], f.refused[name]
	f.found = append(f.found, name+":"+kind)
	f.mu.Unlock()
	if stalled != nil {
		select {
		case <-stalled:
		case <-ctx.Done():
			return nil, fault.Wrap(fault.Unavailable, "find", ctx.Err())
		}
	}
	if err != nil {
		return nil, err
	}
	return &transport.Device{Name: name, ID: ident.DeviceID{ID: ident.New()}}, nil
}

type handle struct {
	f         *fake
	id        ident.ID
	downlinks transport.Downlinks
	rpc       bool
	closed    bool
	active    int
}

func (f *fake) Open(_ context.Context, d *transport.Device, protocol string, downlinks transport.Downlinks) (transport.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if protocol != "MQTT" {
		return nil, fmt.Errorf("protocol %q", protocol)
	}
	h := &handle{f: f, id: ident.New(), downlinks: downlinks}
	f.sessions[d.Name] = h
	f.opened++
	return h, nil
}

func (h *handle) ID() ident.ID { return h.id }

func (h *handle) Active() {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.active++
}

func (h *handle) SubscribeRPC(on bool) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.rpc = on
}

func (h *handle) Close() {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if !h.closed {
		h.closed = true
		h.f.closed++
	}
}

func (f *fake) publish(d *transport.Device, payload []byte, done func(error)) error {
	f.mu.Lock()
	if f.full[d.Name] != nil {
		f.mu.Unlock()
		return bus.ErrFull
	}
	if f.limited[d.Name] {
		f.mu.Unlock()
		return transport.ErrRateLimited
	}
	if len(payload) > 1 && payload[0] == '[' && payload[1] != '{' && payload[1] != ']' {
		f.mu.Unlock()
		return fault.New(fault.Invalid, "no object")
	}
	f.taken = append(f.taken, d.Name+"="+string(payload))
	held, holding := f.held[d.Name]
	if holding {
		f.held[d.Name] = append(held, done)
	}
	err := f.failing[d.Name]
	f.mu.Unlock()
	if !holding {
		done(err)
	}
	return nil
}

func (f *fake) PublishTelemetry(d *transport.Device, _ transport.Origin, payload []byte, done func(error)) error {
	return f.publish(d, payload, done)
}

func (f *fake) PublishAttributes(d *transport.Device, _ transport.Origin, payload []byte, done func(error)) error {
	return f.publish(d, payload, done)
}

func (f *fake) Claim(d *transport.Device, _ transport.Origin, payload []byte, done func(error)) error {
	return f.publish(d, payload, done)
}

func (f *fake) ReplyRPC(d *transport.Device, id int32, from transport.Origin, payload []byte, done func(error)) error {
	f.mu.Lock()
	f.replies = append(f.replies, fmt.Sprintf("%s %d %s %v", d.Name, id, payload, from.Session == ident.ID{}))
	f.mu.Unlock()
	done(nil)
	return nil
}

func (f *fake) ReportRPC(*transport.Device, ident.ID, transport.RPCRequest, sluicepb.RpcStage) {}

func (f *fake) CallRPC(context.Context, *transport.Device, int32, transport.Origin, []byte, func(error), func(string)) error {
	return fault.New(fault.Denied, "gateways do not call for their devices")
}

func (f *fake) Room(d *transport.Device) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if room := f.full[d.Name]; room != nil {
		return room
	}
	room := make(chan struct{})
	close(room)
	return room
}

func (f *fake) ReadAttributes(ctx context.Context, _ *transport.Device, q transport.AttributeQuery) (transport.Attributes, error) {
	f.mu.Lock()
	f.reading++
	f.mostReads = max(f.mostReads, f.reading)
	stall := f.readStall
	f.mu.Unlock()
	if stall != nil {
		<-stall
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading--
	var a transport.Attributes
	for _, kv := range f.shared {
		for _, key := range q.SharedKeys {
			if key == kv.Key {
				a.Shared = append(a.Shared, kv)
			}
		}
	}
	return a, nil
}

// release ends fullness, stalls and holds of a device.
func (f *fake) release(name string, err error) {
	f.mu.Lock()
	full, stalled, held := f.full[name], f.stalled[name], f.held[name]
	delete(f.full, name)
	delete(f.stalled, name)
	delete(f.held, name)
	f.mu.Unlock()
	if full != nil {
		close(full)
	}
	if stalled != nil {
		close(stalled)
	}
	for _, done := range held {
		done(err)
	}
}

// bench is a gateway with what is around it. It is to be used within synctest.
type bench struct {
	*Gateway
	t    *testing.T
	hub  *Hub
	fake *fake

	mu      sync.Mutex
	sent    []string // name payload
	resumes int
	panics  []any
	results map[int]Result
	next    int
}

var testBounds = Bounds{
	Devices: 100, QueuedBytes: 4096, Openings: 4, Reads: 4, Connectors: 2, Notices: 5, Closings: 1000,
	OpenTimeout: 10 * time.Second, MetricsEvery: time.Minute, ActivityEvery: 30 * time.Second,
}

// start opens a gateway in a bubble of synctest, and has everything ended when test is done.
func start(t *testing.T, change func(*Bounds, *Peer), test func(*bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, fake: newFake(), results: map[int]Result{}}
		bounds := testBounds
		peer := Peer{Device: &transport.Device{Name: "G"}, Notices: true, Protobuf: func() bool { return false }}
		if change != nil {
			change(&bounds, &peer)
		}
		m, err := NewMetrics(nil)
		if err != nil {
			t.Fatal(err)
		}
		b.hub = NewHub(bounds, b.fake, m, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		b.Gateway = b.hub.Open(ctx, peer, b)
		test(b)
		for _, name := range []string{"A", "B", "C"} {
			b.fake.release(name, nil)
		}
		if !b.ended() {
			b.Gateway.Close()
		}
		cancel()
		b.hub.Stop()
		if len(b.panics) > 0 {
			t.Errorf("panics: %v", b.panics)
		}
		if left := len(b.children); left > 0 {
			t.Errorf("%d children are left", left)
		}
		if b.waiting != 0 {
			t.Errorf("%d bytes still count as waiting", b.waiting)
		}
	})
}

func (b *bench) ended() bool {
	b.Gateway.mu.Lock()
	defer b.Gateway.mu.Unlock()
	return b.closed
}

// Send implements Connection.
func (b *bench) Send(_ topic.Filter, name string, payload []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, name+" "+string(payload))
}

// SendRequest implements Connection.
func (b *bench) SendRequest(_ *transport.Device, _ ident.ID, _ transport.RPCRequest, payload []byte) {
	b.Send(topic.GatewayRPCFilter, topic.GatewayRPC, payload)
}

// Resume implements Connection.
func (b *bench) Resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resumes++
}

// Panicked implements Connection.
func (b *bench) Panicked(what any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.panics = append(b.panics, what)
}

type receipt struct {
	b *bench
	n int
}

func (r receipt) Concluded(result Result) {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	if _, twice := r.b.results[r.n]; twice {
		r.b.t.Errorf("message %d was concluded twice", r.n)
	}
	r.b.results[r.n] = result
}

// take has the gateway publish, and returns the number of the message.
func (b *bench) take(a topic.Action, payload string) int {
	b.t.Helper()
	b.next++
	data := []byte(payload)
	if !b.Take(a, "v1/gateway/x", data, receipt{b, b.next}) {
		b.t.Fatal("there was no room")
	}
	for i := range data {
		data[i] = 'x' // it is not kept
	}
	return b.next
}

// result waits until everything rests, and tells what became of message n.
func (b *bench) result(n int) string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if r, concluded := b.results[n]; concluded {
		return r.String()
	}
	return "under way"
}

func (b *bench) expect(n int, want string) {
	b.t.Helper()
	if got := b.result(n); got != want {
		b.t.Errorf("message %d: %s, want %s", n, got, want)
	}
}

// at runs f with the platform at rest.
func (b *bench) at(f func(*fake)) {
	synctest.Wait()
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	f(b.fake)
}
