package session

import (
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
)

// TestAcknowledgementsKeepTheOrder: the bus answers the other way round.
func TestAcknowledgementsKeepTheOrder(t *testing.T) {
	c := acceptedSession(t, packet.V311)
	c.platform.holding = true
	for id := range uint16(3) {
		c.feed(t.Context(), publishBytes(id+1, `{}`))
	}
	for i := 2; i >= 0; i-- {
		if len(c.written) > 0 {
			t.Fatalf("% x before the first was done", c.written)
		}
		c.platform.held[i](nil)
		c.take()
	}
	if got, want := string(c.written), "\x40\x02\x00\x01\x40\x02\x00\x02\x40\x02\x00\x03"; got != want {
		t.Errorf("% x, want % x", got, want)
	}
}

// TestFlushIsAskedForOnce: until the writer that was asked has come, it is not asked again, even
// when somebody else wrote meanwhile.
func TestFlushIsAskedForOnce(t *testing.T) {
	c := acceptedSession(t, packet.V311)
	c.platform.holding = true
	for id := range uint16(4) {
		c.feed(t.Context(), publishBytes(id+1, `{}`))
	}
	c.platform.held[0](nil)
	o := c.Take(false) // the reader writes first
	c.platform.held[1](nil)
	if o = c.Wrote(o); o == nil || c.Wrote(o) != nil {
		t.Fatal("what came up meanwhile was not handed on")
	}
	c.platform.held[2](nil)
	if c.wire.flushes.Load() != 1 {
		t.Errorf("asked %d times", c.wire.flushes.Load())
	}
	c.take()
	c.platform.held[3](nil)
	if c.wire.flushes.Load() != 2 {
		t.Errorf("asked %d times after the writer came", c.wire.flushes.Load())
	}
}

// TestSilence: a client has one and a half times its keep-alive, rounded up, and a little.
func TestSilence(t *testing.T) {
	c := acceptedSession(t, packet.V5)
	pass := func(ticks int) {
		for range ticks {
			c.hub.Advance()
			c.Expire()
		}
	}
	pass(15)
	c.feed(t.Context(), []byte("\xc0\x00"))
	pass(15)
	if c.wire.stops.Load() != 0 {
		t.Fatal("closed within one and a half times the keep-alive")
	}
	c.written = nil
	pass(1)
	c.take()
	if c.wire.stops.Load() == 0 || string(c.written) != "\xe0\x02\x8d\x00" {
		t.Errorf("stopped %d times, wrote % x", c.wire.stops.Load(), c.written)
	}
	half := open(t)
	half.feed(t.Context(), connectBytes(packet.V5)[:5])
	for range 11 {
		half.hub.Advance()
		half.Expire()
	}
	if half.wire.stops.Load() == 0 {
		t.Error("half a CONNECT outlives the connect deadline")
	}
}

// TestSilenceIsNotTheClients: while the session itself does not read, nobody can be silent.
func TestSilenceIsNotTheClients(t *testing.T) {
	c := acceptedSession(t, packet.V311)
	c.platform.full = true
	rest, v := c.feed(t.Context(), publishBytes(1, `{}`))
	if v != Full || len(rest) == 0 {
		t.Fatalf("verdict %d, %d bytes left", v, len(rest))
	}
	for range 1000 {
		c.hub.Advance()
		c.Expire()
	}
	c.platform.full = false
	if _, v := c.feed(t.Context(), rest); v != More || string(c.written) != "\x40\x02\x00\x01" {
		t.Errorf("verdict %d, wrote % x", v, c.written)
	}
	for range 16 {
		c.hub.Advance()
		c.Expire()
	}
	if c.wire.stops.Load() == 0 {
		t.Error("the silence after it does not count")
	}
}

// TestFatalInItsTurn: before MQTT 5 a refusal ends the connection, after what came before it was answered.
func TestFatalInItsTurn(t *testing.T) {
	c := acceptedSession(t, packet.V311)
	c.platform.holding = true
	c.feed(t.Context(), publishBytes(1, `{}`))
	if _, v := c.feed(t.Context(), publishBytes(2, `nonsense`)); v != Pause {
		t.Fatalf("verdict %d, want to wait", v)
	}
	if rest, v := c.feed(t.Context(), publishBytes(3, `{}`)); v != Pause || len(rest) == 0 {
		t.Fatalf("verdict %d, %d bytes left: nothing more may be taken on", v, len(rest))
	}
	c.platform.held[0](nil)
	c.take()
	if string(c.written) != "\x40\x02\x00\x01" || c.wire.stops.Load() == 0 {
		t.Errorf("wrote % x, stopped %d times", c.written, c.wire.stops.Load())
	}
	if _, v := c.feed(t.Context(), nil); v != Close {
		t.Errorf("verdict %d", v)
	}
}

func TestDrain(t *testing.T) {
	c := acceptedSession(t, packet.V5)
	c.platform.holding = true
	c.feed(t.Context(), packet.AppendPublish(nil, packet.V5, 1, 1, "v2/t", []byte(`{}`)))
	c.Drain()
	if c.wire.stops.Load() != 0 {
		t.Fatal("closed with a message in flight")
	}
	c.platform.held[0](errors.New("bus is gone"))
	c.take()
	if got, want := string(c.written), "\x40\x03\x00\x01\x83\xe0\x02\x8b\x00"; got != want {
		t.Errorf("% x, want % x", got, want)
	}
	c.Ended()
}

// TestEndedWithMessagesInFlight: what the bus says later is nobody's concern.
func TestEndedWithMessagesInFlight(t *testing.T) {
	c := acceptedSession(t, packet.V311)
	c.platform.holding = true
	c.feed(t.Context(), append(publishBytes(1, `{}`), publishBytes(2, `{}`)...))
	c.Break(CauseLost)
	c.Ended()
	c.platform.held[1](nil)
	c.platform.held[0](errors.New("too late"))
	if c.take(); len(c.written) > 0 {
		t.Errorf("wrote % x to nobody", c.written)
	}
}

// TestSlowClient: what a client does not read is bounded.
func TestSlowClient(t *testing.T) {
	c := acceptedSession(t, packet.V311)
	var v Verdict
	for i := 0; i < 10*testRules.OutputBytes && v != Close; i++ {
		_, v = c.Feed(t.Context(), []byte("\xc0\x00"))
	}
	if o := c.Take(false); v != Close || len(o.Bytes) > testRules.OutputBytes+10 {
		t.Errorf("verdict %d with %d bytes waiting", v, len(o.Bytes))
	}
	c = acceptedSession(t, packet.V311)
	c.feed(t.Context(), []byte("\x82\x09\x00\x01\x00\x04v2/a\x01"))
	for range testRules.OutputBytes {
		c.AttributesUpdated([]telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(1)}}, nil)
	}
	if c.wire.stops.Load() == 0 {
		t.Error("updates pile up without end")
	}
}

// TestTakenOverBeforeAccepted: the session is replaced while it opens.
func TestTakenOverBeforeAccepted(t *testing.T) {
	c := open(t)
	c.platform.opened = func(d transport.Downlinks) { d.Close(sluicepb.CloseReason_TAKEN_OVER) }
	if _, v := c.feed(t.Context(), connectBytes(packet.V5)); v != Close || len(c.written) > 0 {
		t.Errorf("verdict %d, wrote % x; want the end without a word", v, c.written)
	}
}

func TestQoS2IsBounded(t *testing.T) {
	c := acceptedSession(t, packet.V311)
	for id := range uint16(testRules.InFlight) {
		if _, v := c.feed(t.Context(), packet.AppendPublish(nil, packet.V311, 2, id+1, "v2/t", []byte(`{}`))); v != More {
			t.Fatalf("verdict %d", v)
		}
	}
	if _, v := c.feed(t.Context(), packet.AppendPublish(nil, packet.V311, 2, 100, "v2/t", []byte(`{}`))); v != Close {
		t.Errorf("verdict %d: messages that wait for PUBREL are without bound", v)
	}
}

// TestFatesAddUp: every message taken on is counted with one fate, whether or not its connection lives to hear of it.
func TestFatesAddUp(t *testing.T) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		c := acceptedSession(t, v)
		c.platform.holding = true
		for i, m := range []struct{ topic, payload string }{
			{"v2/t", `{}`}, {"wrong", `{}`}, {"v2/t", `{}`}, {"v2/a/req/1", `{}`}, {"v1/devices/me/claim", ``}, {"v2/t", `{}`}, {"v2/t", `bad`},
		} {
			c.feed(t.Context(), packet.AppendPublish(nil, v, byte(i%2), uint16(i+1), m.topic, []byte(m.payload)))
		}
		for _, done := range c.platform.held {
			done(nil)
		}
		c.hub.Wait()
		c.Ended()
		sum := 0.0
		for fate := range fates {
			sum += testutil.ToFloat64(c.hub.metrics.fates[fate])
		}
		if received := testutil.ToFloat64(c.hub.metrics.received); received != 7 || sum != 7 {
			t.Errorf("version %d: %v received, %v with a fate; want 7", v, received, sum)
		}
	}
}

// TestOutcomes holds the table of what clients are told.
func TestOutcomes(t *testing.T) {
	for _, row := range []struct {
		err     error
		v       packet.Version
		qos     byte
		outcome outcome
	}{
		{nil, packet.V311, 1, outcome{}},
		{fault.New(fault.Invalid, ""), packet.V5, 1, outcome{fate: Malformed, reason: 0x99, fatal: false}},
		{fault.New(fault.Invalid, ""), packet.V5, 0, outcome{fate: Malformed, reason: 0x99, fatal: true}},
		{fault.New(fault.Invalid, ""), packet.V311, 1, outcome{fate: Malformed, reason: 0x99, fatal: true}},
		{transport.ErrTooLarge, packet.V5, 1, outcome{fate: TooLarge, reason: 0x95, fatal: true}},
		{transport.ErrRateLimited, packet.V5, 1, outcome{fate: Limited, reason: 0x83, fatal: true}},
		{fault.Wrap(fault.Unavailable, "", bus.ErrDeadline), packet.V5, 1, outcome{fate: Unavailable, reason: 0x83, fatal: false}},
		{fault.Wrap(fault.Unavailable, "", bus.ErrDeadline), packet.V31, 1, outcome{fate: Unavailable, reason: 0x83, fatal: true}},
		{errors.New("anything"), packet.V5, 1, outcome{fate: Unavailable, reason: 0x83, fatal: false}},
		{fault.New(fault.Denied, ""), packet.V5, 1, outcome{fate: Denied, reason: 0x87, fatal: false}},
	} {
		if got := (&Session{version: row.v}).outcomeOf(row.err, row.qos); got != row.outcome {
			t.Errorf("%v at version %d, QoS %d: %+v, want %+v", row.err, row.v, row.qos, got, row.outcome)
		}
	}
}

func TestMissing(t *testing.T) {
	for in, want := range map[string]int{"": 1, "\x30": 1, "\x30\x0a": 10, "\x30\x0aabc": 7, "\x30\x80": 1} {
		if got := Missing([]byte(in)); got != want {
			t.Errorf("% x: %d, want %d", in, got, want)
		}
	}
}

func BenchmarkFeed(b *testing.B) {
	c := acceptedSession(b, packet.V311)
	payload := `{"ts":1700000000000,"values":{"temperature":21.5,"humidity":40,"status":"ok","pressure":1013.25}}`
	message := publishBytes(1, payload)
	b.ReportAllocs()
	b.SetBytes(int64(len(message)))
	ctx := b.Context()
	for b.Loop() {
		if _, v := c.Feed(ctx, message); v != More {
			b.Fatal(v)
		}
		o := c.Take(true)
		c.Wrote(o)
	}
}
