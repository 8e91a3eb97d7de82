package session

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
)

// FuzzFeed: whatever a client sends, in whatever pieces, the session does not panic, takes no more
// than there is, writes whole packets, and does not mind how the bytes were cut.
func FuzzFeed(f *testing.F) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		connect := connectBytes(v)
		for _, more := range [][]byte{
			nil,
			publishBytes(1, `{"t":1}`),
			packet.AppendPublish(publishBytes(2, `nonsense`), v, 0, 0, "wrong/topic", nil),
			packet.AppendPublish(nil, v, 2, 3, "v2/t", []byte(`{}`)),
			[]byte("\xc0\x00\x82\x09\x00\x01\x00\x04v2/a\x01\xa2\x08\x00\x02\x00\x04v2/a"),
			packet.AppendPublish(nil, v, 1, 4, "v2/a/req/1", []byte(`{"clientKeys":"a"}`)),
			packet.AppendAck(packet.AppendAck(nil, v, packet.PUBREL, 3, 0), v, packet.PUBACK, 1, 0),
			packet.AppendPublish(publishTo(v, "v1/devices/me/rpc/response/7", 5, "x"), v, 1, 6, "v2/r/req/p/x", nil),
			publishTo(v, "v1/devices/me/rpc/request/1", 7, `{"method":"getSessionLimits"}`),
			publishTo(v, "v1/devices/me/claim", 8, ``),
			publishTo(v, "v2/fw/request/1/chunk/0", 9, `100`),
			publishTo(v, "v1/gateway/telemetry", 10, `{}`),
			[]byte("\xe0\x00"),
			[]byte("\x10\x00"),
		} {
			f.Add(append(bytes.Clone(connect), more...), byte(3))
		}
	}
	f.Add([]byte("\x10\xff\xff\xff\x7f"), byte(1))
	provisioning := []byte("\x10\x18\x00\x04MQTT\x05\x82\x00\x0a\x00\x00\x00\x00\x09provision")
	f.Add(append(provisioning, publishTo(packet.V5, topicOfProvisioning, 1, `{"provisionDeviceSecret":"S"}`)...), byte(5))
	f.Add(append(provisioning, publishTo(packet.V5, "v2/t", 1, `{}`)...), byte(5))
	f.Fuzz(func(t *testing.T, b []byte, cut byte) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		whole, pieces := open(t), open(t)
		whole.feed(ctx, b)
		var rest []byte
		step := int(cut%16) + 1
		for begin, v := 0, More; begin < len(b) && v == More; begin += step {
			rest, v = pieces.feed(ctx, append(rest, b[begin:min(begin+step, len(b))]...))
		}
		for _, c := range []*connection{whole, pieces} {
			c.hub.Wait()
			c.Ended()
			checkPackets(t, c.written)
		}
		if whole.platform.asked()+pieces.platform.asked() > 0 {
			return // what is answered meanwhile may come before or after the rest
		}
		if !bytes.Equal(whole.written, pieces.written) {
			t.Fatalf("whole % x, in pieces of %d % x", whole.written, step, pieces.written)
		}
		if whole.platform.taken != pieces.platform.taken {
			t.Fatalf("%d messages, in pieces %d", whole.platform.taken, pieces.platform.taken)
		}
	})
}

// FuzzDeliver: whatever the platform sends and the client acknowledges, in whatever order, what goes out are whole packets, no more
// is unacknowledged or waits than may, and every request is told of at most once as delivered.
func FuzzDeliver(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 4, 5, 2, 1, 3, 4, 6, 4})
	f.Add([]byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 4})
	f.Add([]byte{7, 0, 0, 4, 16, 0, 32, 4, 5, 5, 5, 5, 5, 5, 5, 8, 4})
	f.Fuzz(func(t *testing.T, plan []byte) {
		if len(plan) > 200 {
			return
		}
		c := subscribed(t, 1)
		c.feed(t.Context(), subscribeBytes("v2/a", 1))
		for i, step := range plan {
			c.step(t, int32(i), step)
			if o := c.outbox; o != nil && (len(o.sent) > testRules.Unacknowledged || len(o.waiting) > testRules.Waiting) {
				t.Fatalf("%d unacknowledged, %d wait", len(o.sent), len(o.waiting))
			}
		}
		c.take()
		c.Ended()
		checkPackets(t, c.written)
		told := map[string]bool{}
		for _, report := range c.platform.reports {
			if strings.HasPrefix(report, "DELIVERED") && told[report] {
				t.Errorf("%s twice, of %q", report, c.platform.reports)
			}
			told[report] = true
		}
	})
}

// step does one of the things that may happen to what is sent to a client; the upper bits say to which.
func (c *connection) step(t *testing.T, i int32, step byte) {
	which := step >> 4
	switch step & 15 {
	case 0:
		c.RPC(requestTo(i))
	case 1:
		c.AttributesUpdated([]telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(1)}}, []string{"gone"})
	case 2, 3:
		c.acknowledge(t, uint16(which), 0)
	case 4:
		c.take()
	case 5:
		c.hub.Advance()
		c.Expire()
	case 6:
		c.feed(t.Context(), subscribeBytes("v2/r/req/+", which&1))
	case 7:
		c.packetMaximum = uint32(which) * 20
	case 8:
		c.Break(CauseLost)
	case 9:
		large := requestTo(i)
		large.Persistent, large.Params = which&1 == 0, strings.Repeat("1", int(which)*200)
		c.RPC(large)
	}
}

func checkPackets(t *testing.T, b []byte) {
	t.Helper()
	for len(b) > 0 {
		h, err := packet.ReadHeader(b)
		if err != nil || h.Size+h.Length > len(b) {
			t.Fatalf("% x is no packet", b)
		}
		b = b[h.Size+h.Length:]
	}
}
