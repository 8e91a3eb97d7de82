package packet

import (
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

var publishSample = packets.Packet{
	FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, PacketID: 5, TopicName: "v1/devices/me/telemetry",
	Payload: []byte(`{"ts":1700000000000,"values":{"temperature":21.5,"humidity":40,"status":"ok","pressure":1013.25}}`),
}

func BenchmarkParsePublish(b *testing.B) {
	whole := encode(b, V311, publishSample)
	b.ReportAllocs()
	b.SetBytes(int64(len(whole)))
	for b.Loop() {
		h, _ := ReadHeader(whole)
		if _, err := ParsePublish(V311, h.Flags, whole[h.Size:]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParsePublishOther is the same by a maintained codec, for comparison.
func BenchmarkParsePublishOther(b *testing.B) {
	whole := encode(b, V311, publishSample)
	b.ReportAllocs()
	b.SetBytes(int64(len(whole)))
	for b.Loop() {
		h, _ := ReadHeader(whole)
		pk := packets.Packet{ProtocolVersion: byte(V311)}
		if err := pk.FixedHeader.Decode(whole[0]); err != nil {
			b.Fatal(err)
		}
		pk.FixedHeader.Remaining = h.Length
		if err := pk.PublishDecode(whole[h.Size:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendAck(b *testing.B) {
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = AppendAck(out[:0], V311, PUBACK, 5, Success)
	}
}
