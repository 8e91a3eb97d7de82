package session

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
)

// fake is a platform that knows everyone but "wrong", and has what is published at once, or holds it.
type fake struct {
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
	return &transport.Device{}, nil
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

type handle struct{}

func (handle) ID() ident.ID { return ident.ID{1} }
func (handle) Active()      {}
func (handle) Close()       {}

// wire counts what it is told.
type wire struct{ flushes, resumes, stops int }

func (w *wire) Flush()  { w.flushes++ }
func (w *wire) Resume() { w.resumes++ }
func (w *wire) Stop()   { w.stops++ }

var testRules = Rules{
	ConnectBytes: 1000, PacketBytes: 1000, InFlight: 8, OutputBytes: 2000, AttributeReads: 2,
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
		before := c.wire.resumes
		n, v := c.Feed(ctx, b)
		b = b[n:]
		if v == Connect {
			v = c.Connect(ctx)
		}
		c.take()
		if v == Pause {
			if c.hub.Wait(); c.wire.resumes > before {
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
