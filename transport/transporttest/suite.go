package transporttest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
)

// Outcome is what a device learns of its request, whatever the protocol calls it.
type Outcome int

// The outcomes.
const (
	Unanswered   Outcome = iota // no answer until the context ended
	Acknowledged                // PUBACK 0x00, HTTP 200, CoAP 2.01 or 2.05
	Unknown                     // credentials refused
	Malformed                   // payload refused
	TooLarge                    // payload or uplink too large
	Limited                     // rate limit
	Unavailable                 // the platform is away; later
)

func (o Outcome) String() string {
	names := [...]string{"unanswered", "acknowledged", "unknown", "malformed", "too large", "limited", "unavailable"}
	if o < 0 || int(o) >= len(names) {
		return "no outcome"
	}
	return names[o]
}

// Upload is one request of a device.
type Upload struct {
	Token      string
	Attributes bool // else telemetry
	Payload    string
}

// Client talks the protocol to the service under test. Each call is independent of the others (a
// connection of its own where the protocol has connections) and may be made concurrently. It
// returns when the answer is there, or ctx ends (Unanswered).
type Client interface {
	Upload(ctx context.Context, u Upload) Outcome
	// ReadAttributes reads the named client and shared attributes, and returns the JSON answered.
	ReadAttributes(ctx context.Context, token string, clientKeys, sharedKeys []string) (string, Outcome)
}

// Harness is a protocol under test.
type Harness struct {
	// Transport is what the protocol's uplinks say they came over: MQTT, HTTP or COAP.
	Transport string
	// Start starts the service on tr, on a free port of 127.0.0.1, and returns a client of it and what
	// stops it: stop returns when the service has drained. The suite calls stop exactly once.
	Start func(t *testing.T, tr *transport.Transport) (c Client, stop func())
	// Oversize is the size in bytes of a telemetry payload that is too large for the protocol's own
	// limit; 0 leaves that case out.
	Oversize int
	// Attributes says whether Client.ReadAttributes works.
	Attributes bool
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("uploads reach the bus", h.uploads)
	t.Run("bad credentials", h.badCredentials)
	t.Run("bad payloads", h.badPayloads)
	t.Run("sizes", h.sizes)
	t.Run("rate limit", h.rateLimit)
	t.Run("acknowledged only after the bus has it", h.acknowledgedAfter)
	t.Run("the bus fails", h.busFails)
	t.Run("the bus is full", h.busFull)
	t.Run("the core is away", h.coreAway)
	t.Run("attributes", h.attributes)
	t.Run("drain", h.drain)
}

// bench is one case's service and client.
type bench struct {
	*Rig
	Client
	device *Device
	stop   func()
}

func (h Harness) start(t *testing.T, change func(*transport.Config)) *bench {
	t.Helper()
	b := &bench{Rig: Start(t, change)}
	b.device = b.Core.AddDevice("TOKEN")
	client, stop := h.Start(t, b.Rig.Transport)
	stopped := false
	b.Client, b.stop = client, func() {
		if !stopped {
			stopped = true
			stop()
		}
	}
	t.Cleanup(b.stop)
	return b
}

// expect uploads and checks the outcome.
func (b *bench) expect(t *testing.T, u Upload, want Outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if got := b.Upload(ctx, u); got != want {
		t.Errorf("%.80s: %v, want %v", u.Payload, got, want)
	}
}

// background uploads and hands the outcome over when there is one.
func (b *bench) background(u Upload) <-chan Outcome {
	out := make(chan Outcome, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		out <- b.Upload(ctx, u)
	}()
	return out
}

func telemetryOf(payload string) Upload { return Upload{Token: "TOKEN", Payload: payload} }

func (h Harness) uploads(t *testing.T) {
	b := h.start(t, nil)
	b.expect(t, telemetryOf(`{"ts":1000,"values":{"t":21.5,"n":5}}`), Acknowledged)
	b.expect(t, Upload{Token: "TOKEN", Attributes: true, Payload: `{"fw":"1.0x"}`}, Acknowledged)
	b.expect(t, telemetryOf(`{}`), Acknowledged) // nothing to store, nothing on the bus
	uplinks := b.Uplinks(t, 2)
	first, second := uplinks[0], uplinks[1]
	if first.Device != b.device.ID || first.Tenant != b.device.Tenant || first.DeviceName != b.device.Name ||
		first.DeviceType != b.device.Type || first.Transport != h.Transport {
		t.Errorf("uplink says %+v", first)
	}
	if first.ID == second.ID || first.ReceivedAt == 0 {
		t.Errorf("message ids %x and %x, received at %d", first.ID, second.ID, first.ReceivedAt)
	}
	if len(first.Telemetry) != 1 || first.Telemetry[0].Time != 1000 || !first.Telemetry[0].OwnTime || len(first.Telemetry[0].Values) != 2 {
		t.Errorf("telemetry %+v", first.Telemetry)
	}
	if len(second.Attributes) != 1 || second.Attributes[0] != (telemetry.KeyValue{Key: "fw", Value: telemetry.OfString("1.0x")}) {
		t.Errorf("attributes %+v", second.Attributes)
	}
}

func (h Harness) badCredentials(t *testing.T) {
	b := h.start(t, nil)
	b.expect(t, Upload{Token: "WRONG", Payload: `{"t":1}`}, Unknown)
	b.expect(t, telemetryOf(`{"t":1}`), Acknowledged)
	b.Uplinks(t, 1)
}

func (h Harness) badPayloads(t *testing.T) {
	b := h.start(t, nil)
	for _, payload := range []string{`nope`, `"text"`, `5`, `[5]`, `{"t":}`, `{"t":1}x`, `{"ts":1000,"values":5}`, `{"ts":"abc","values":{"a":1}}`, `{"t":1E400}`} {
		b.expect(t, telemetryOf(payload), Malformed)
	}
	for _, payload := range []string{`[{"a":1}]`, `nope`, `{"a"}`} {
		b.expect(t, Upload{Token: "TOKEN", Attributes: true, Payload: payload}, Malformed)
	}
	b.expect(t, telemetryOf(`{"t":1}`), Acknowledged)
	b.Uplinks(t, 1)
}

func (h Harness) sizes(t *testing.T) {
	b := h.start(t, func(c *transport.Config) { c.UplinkMaxBytes = 2000 })
	b.expect(t, telemetryOf(textOf(3000)), TooLarge)
	if h.Oversize > 0 {
		b.expect(t, telemetryOf(textOf(h.Oversize)), TooLarge)
	}
	b.expect(t, telemetryOf(textOf(1000)), Acknowledged)
	b.Uplinks(t, 1)
}

// textOf returns a telemetry payload of that many bytes.
func textOf(size int) string {
	return `{"text":"` + strings.Repeat("x", size-len(`{"text":""}`)) + `"}`
}

func (h Harness) rateLimit(t *testing.T) {
	b := h.start(t, func(c *transport.Config) { c.DeviceLimits.Telemetry = "1:3600" })
	b.expect(t, telemetryOf(`{"t":1}`), Acknowledged)
	b.expect(t, telemetryOf(`{"t":2}`), Limited)
	b.Core.AddDevice("OTHER")
	b.expect(t, Upload{Token: "OTHER", Payload: `{"t":3}`}, Acknowledged)
	b.Uplinks(t, 2)
}

// settle is how long a suite waits to see that something does not happen.
const settle = 50 * time.Millisecond

func (h Harness) acknowledgedAfter(t *testing.T) {
	for _, attributes := range []bool{false, true} {
		b := h.start(t, nil)
		b.Bus.Hold()
		answer := b.background(Upload{Token: "TOKEN", Attributes: attributes, Payload: `{"t":1}`})
		b.AwaitHeld(t, 1)
		select {
		case o := <-answer:
			t.Fatalf("%v before the bus had it", o)
		case <-time.After(settle):
		}
		b.Bus.Release(nil)
		if o := <-answer; o != Acknowledged {
			t.Errorf("%v once the bus had it, want %v", o, Acknowledged)
		}
	}
}

func (h Harness) busFails(t *testing.T) {
	for _, err := range []error{bus.ErrDeadline, bus.ErrUnavailable, bus.ErrClosed} {
		b := h.start(t, nil)
		b.Bus.Hold()
		answer := b.background(telemetryOf(`{"t":1}`))
		b.AwaitHeld(t, 1)
		b.Bus.Release(err)
		if o := <-answer; o != Unavailable {
			t.Errorf("%v: %v, want %v", err, o, Unavailable)
		}
		b.Bus.Fail(err)
		b.expect(t, telemetryOf(`{"t":2}`), Unavailable)
		b.Bus.Fail(nil)
		b.expect(t, telemetryOf(`{"t":3}`), Acknowledged)
	}
}

// busFull: the reading waits for room, or is refused; it is never acknowledged without being taken on.
func (h Harness) busFull(t *testing.T) {
	b := h.start(t, nil)
	b.Bus.SetFull(true)
	answer := b.background(telemetryOf(`{"t":1}`))
	select {
	case o := <-answer:
		if o != Unavailable {
			t.Fatalf("%v while the bus was full", o)
		}
		b.Bus.SetFull(false)
		b.expect(t, telemetryOf(`{"t":1}`), Acknowledged)
	case <-time.After(settle):
		b.Bus.SetFull(false)
		if o := <-answer; o != Acknowledged && o != Unavailable {
			t.Errorf("%v once there was room", o)
		} else if o == Unavailable {
			b.expect(t, telemetryOf(`{"t":1}`), Acknowledged)
		}
	}
	b.Uplinks(t, 1)
}

func (h Harness) coreAway(t *testing.T) {
	b := h.start(t, nil)
	b.Core.Fail(fault.New(fault.Unavailable, "store is away"))
	b.expect(t, telemetryOf(`{"t":1}`), Unavailable)
	b.Core.Fail(nil)
	b.expect(t, telemetryOf(`{"t":1}`), Acknowledged)
	b.Uplinks(t, 1)
}

func (h Harness) attributes(t *testing.T) {
	if !h.Attributes {
		return
	}
	b := h.start(t, nil)
	b.Core.Change(func() {
		b.device.Client = []telemetry.KeyValue{{Key: "a", Value: telemetry.OfLong(1)}, {Key: "b", Value: telemetry.OfString("x")}}
		b.device.Shared = []telemetry.KeyValue{{Key: "c", Value: telemetry.OfJSON(`{"d":[1]}`)}}
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, outcome := b.ReadAttributes(ctx, "TOKEN", []string{"a", "none"}, []string{"c"})
	if want := `{"client":{"a":1},"shared":{"c":{"d":[1]}}}`; outcome != Acknowledged || got != want {
		t.Errorf("read %s (%v), want %s", got, outcome, want)
	}
	if _, outcome := b.ReadAttributes(ctx, "WRONG", []string{"a"}, nil); outcome != Unknown {
		t.Errorf("with a wrong token: %v, want %v", outcome, Unknown)
	}
}

// drain: a reading the bus holds while the service stops gets its true answer.
func (h Harness) drain(t *testing.T) {
	b := h.start(t, nil)
	b.Bus.Hold()
	answer := b.background(telemetryOf(`{"t":1}`))
	b.AwaitHeld(t, 1)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		b.stop()
	}()
	select {
	case o := <-answer:
		if o == Acknowledged {
			t.Fatal("acknowledged before the bus had it")
		}
	case <-time.After(settle):
		b.Bus.Release(nil)
		if o := <-answer; o != Acknowledged {
			t.Errorf("%v after the bus had it, want %v", o, Acknowledged)
		}
	}
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Error("the service did not stop")
	}
}
