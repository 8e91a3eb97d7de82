package session

import (
	"bytes"
	"context"
	"testing"

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
			[]byte("\xe0\x00"),
			[]byte("\x10\x00"),
		} {
			f.Add(append(bytes.Clone(connect), more...), byte(3))
		}
	}
	f.Add([]byte("\x10\xff\xff\xff\x7f"), byte(1))
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
		if !bytes.Equal(whole.written, pieces.written) {
			t.Fatalf("whole % x, in pieces of %d % x", whole.written, step, pieces.written)
		}
		if whole.platform.taken != pieces.platform.taken {
			t.Fatalf("%d messages, in pieces %d", whole.platform.taken, pieces.platform.taken)
		}
	})
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
