package packet

import (
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// samples are one packet of every kind a client sends, at versions 3.1.1 and 5.
func samples(t testing.TB) map[Version][][]byte {
	all := map[Version][][]byte{}
	filters := packets.Subscriptions{{Filter: "v1/devices/me/attributes", Qos: 1}, {Filter: "a/+"}}
	for _, v := range []Version{V311, V5} {
		for _, pk := range []packets.Packet{
			connectPacket(),
			{
				FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, PacketID: 5, TopicName: "v1/devices/me/telemetry", Payload: []byte(`{"t":21.5}`),
				Properties: packets.Properties{TopicAlias: 3, TopicAliasFlag: true, User: []packets.UserProperty{{Key: "a", Val: "b"}}},
			},
			{FixedHeader: header(packets.Puback), PacketID: 9, ReasonCode: 0x10, Properties: packets.Properties{ReasonString: "why"}},
			{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 6, Filters: filters},
			{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, PacketID: 6, Filters: filters},
			{FixedHeader: header(packets.Disconnect), ReasonCode: 4, Properties: packets.Properties{ReasonString: "why"}},
		} {
			all[v] = append(all[v], encode(t, v, pk))
		}
	}
	return all
}

// parse parses a complete packet by its type, as a session would.
func parse(v Version, h Header, body []byte) *Error {
	var err *Error
	switch h.Type {
	case CONNECT:
		_, err = ParseConnect(body)
	case PUBLISH:
		_, err = ParsePublish(v, h.Flags, body)
	case PUBACK, PUBREC, PUBREL, PUBCOMP:
		_, _, err = ParseAck(v, body)
	case SUBSCRIBE:
		var f Filters
		if f, err = ParseSubscribe(v, body); err == nil {
			drain(f)
		}
	case UNSUBSCRIBE:
		var f Filters
		if f, err = ParseUnsubscribe(v, body); err == nil {
			drain(f)
		}
	case DISCONNECT:
		_, err = ParseDisconnect(v, body)
	}
	return err
}

func drain(f Filters) {
	for range f.All() {
	}
}

// TestTruncated: a packet cut at any byte asks for more, or, were that byte its last, is an error
// or a shorter packet; it is never read beyond.
func TestTruncated(t *testing.T) {
	for v, packets := range samples(t) {
		for _, whole := range packets {
			h, body := split(t, whole)
			if err := parse(v, h, body); err != nil {
				t.Errorf("% x: %v", whole, err)
			}
			for n := range whole {
				if h, err := ReadHeader(whole[:n]); err != ErrShort && h.Size+h.Length <= n {
					t.Errorf("% x cut to %d passes for complete", whole, n)
				}
			}
			for n := range body {
				if err := parse(v, h, body[:n:n]); err == nil && h.Type != PUBLISH && h.Type != PUBACK && h.Type != DISCONNECT && h.Type != SUBSCRIBE && h.Type != UNSUBSCRIBE {
					t.Errorf("body % x cut to %d passes for complete", body, n)
				}
			}
		}
	}
}

// FuzzPacket: whatever bytes come, parsing ends, and what was parsed lies within them.
func FuzzPacket(f *testing.F) {
	for v, packets := range samples(f) {
		for _, whole := range packets {
			f.Add(byte(v), whole)
			f.Add(byte(v), whole[:len(whole)-1])
		}
	}
	f.Add(byte(V5), []byte("\x30\xff\xff\xff\xff"))
	f.Add(byte(V31), []byte("\x10\x10\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x02ab"))
	f.Fuzz(func(t *testing.T, version byte, b []byte) {
		h, err := ReadHeader(b)
		if err != nil {
			return
		}
		if h.Size < 2 || h.Size > 5 || h.Length < 0 || h.Length > 268435455 {
			t.Fatalf("header %+v", h)
		}
		body := b[h.Size:]
		body = body[:min(len(body), h.Length)]
		if err := parse(Version(version), h, body); err != nil && err.Reason < 0x80 {
			t.Fatalf("%v has a reason of success", err)
		}
	})
}
