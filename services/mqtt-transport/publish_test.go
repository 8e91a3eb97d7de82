package mqtttransport

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

// TestUploads holds what is accepted to device-api §8.2.
func TestUploads(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	mixed := `{"t":21.5,"on":true,"n":5,"s":"x","j":{"a":[1]}}`
	mixedValues := []telemetry.KeyValue{
		{Key: "t", Value: telemetry.OfDouble(21.5)},
		{Key: "on", Value: telemetry.OfBool(true)},
		{Key: "n", Value: telemetry.OfLong(5)},
		{Key: "s", Value: telemetry.OfString("x")},
		{Key: "j", Value: telemetry.OfJSON(`{"a":[1]}`)},
	}
	one := func(v telemetry.Value) []telemetry.KeyValue { return []telemetry.KeyValue{{Key: "t", Value: v}} }
	untimed := cmpopts.IgnoreFields(telemetry.Record{}, "Time")
	sent := 0
	for _, version := range []byte{v31, v311, v5} {
		c := login(t, r.service.Addr(), version, "T")
		for _, row := range []struct {
			name, topic, payload string
			want                 []telemetry.Record
		}{
			{"M30", telemetryTopic, mixed, []telemetry.Record{{Values: mixedValues}}},
			{"M31", telemetryTopic, `{"ts":1000,"values":{"t":1}}`, []telemetry.Record{{Time: 1000, OwnTime: true, Values: one(telemetry.OfLong(1))}}},
			{"M32", telemetryTopic, `[{"ts":1000,"values":{"t":1}},{"t":2}]`, []telemetry.Record{
				{Time: 1000, OwnTime: true, Values: one(telemetry.OfLong(1))}, {Values: one(telemetry.OfLong(2))},
			}},
			{"M33", "v2/t", mixed, []telemetry.Record{{Values: mixedValues}}},
			{"M33 json", "v2/t/j", mixed, []telemetry.Record{{Values: mixedValues}}},
		} {
			c.acknowledged(row.topic, row.payload)
			sent++
			got := r.Uplinks(t, sent)[sent-1]
			if diff := cmp.Diff(row.want, got.Telemetry, untimed, cmp.Comparer(sameValue)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", row.name, diff)
			}
			if got.Topic != row.topic || got.Transport != "MQTT" {
				t.Errorf("%s: over %s by %s", row.name, got.Transport, got.Topic)
			}
		}
		c.acknowledged(telemetryTopic, `{}`) // M34
		c.acknowledged(attributeTopic, `{"fw":"1.0x","n":null}`)
		sent++
		attributes := r.Uplinks(t, sent)[sent-1].Attributes
		if want := []telemetry.KeyValue{{Key: "fw", Value: telemetry.OfString("1.0x")}}; !cmp.Equal(want, attributes, cmp.Comparer(sameValue)) {
			t.Errorf("M44: %+v", attributes)
		}
		c.publish(0, telemetryTopic, `{"t":0}`)
		c.alive()
		sent++
		r.Uplinks(t, sent)
	}
}

func sameValue(a, b telemetry.Value) bool { return a == b }

// TestMalformed holds what is refused to device-api §8.2: before MQTT 5 the connection ends, since
// PUBACK would say that the platform has it.
func TestMalformed(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	for _, row := range []struct{ name, topic, payload string }{
		{"M35 M36", telemetryTopic, `hello world`},
		{"M39", telemetryTopic, `{"ts":1000,"values":5}`},
		{"M40", telemetryTopic, `{"ts":"abc","values":{"a":1}}`},
		{"M45", attributeTopic, `[{"a":1}]`},
		{"M52", "v1/devices/me/attributes/request/1", ``},
		{"M52 array", "v1/devices/me/attributes/request/1", `{"clientKeys":["a"]}`},
		{"M53", "v1/devices/me/attributes/request/abc", `{}`},
		{"no schema", "v2/t/p", "\x08\x01"},
	} {
		t.Run(row.name, func(t *testing.T) {
			old := login(t, r.service.Addr(), v311, "T")
			old.publish(1, row.topic, row.payload)
			old.expectClosed()

			c := login(t, r.service.Addr(), v5, "T")
			c.publish(1, row.topic, row.payload)
			c.expectReason(packets.Puback, 0x99)
			c.acknowledged(telemetryTopic, `{}`)
			c.publish(0, row.topic, row.payload) // M37
			c.expectRefusal(0x99)
		})
	}
	r.Uplinks(t, 0)
}

func TestM41UnknownTopic(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	for _, topic := range []string{"wrong/topic", "v1/devices/me", "v1/devices/me/telemetry/", "V1/devices/me/telemetry", "v2/x"} {
		c := login(t, r.service.Addr(), v5, "T")
		c.publish(1, topic, `{"t":1}`)
		c.expectReason(packets.Puback, 0x90)
		c.publish(0, topic, `{"t":1}`)
		c.alive()
		old := login(t, r.service.Addr(), v311, "T")
		old.acknowledged(topic, `{"t":1}`)
	}
	r.Uplinks(t, 0)
}

func TestM42WildcardInTopic(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	for _, version := range []byte{v311, v5} {
		c := login(t, r.service.Addr(), version, "T")
		c.publish(1, telemetryTopic+"/+", `{"t":1}`)
		c.expectRefusal(0x81)
	}
}

func TestM43PacketSize(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	const limit = 65536
	for _, version := range []byte{v311, v5} {
		overhead := 2 + len(telemetryTopic) + 2
		if version == v5 {
			overhead++ // no properties
		}
		c := login(t, r.service.Addr(), version, "T")
		c.acknowledged(telemetryTopic, textOf(limit-overhead))
		c.publish(1, telemetryTopic, textOf(limit-overhead+1))
		c.expectRefusal(0x95)
	}
	r.Uplinks(t, 2)
}

// TestAcknowledgedInOrder: PUBACKs come in the order of the PUBLISHes, and never before the bus has them.
func TestAcknowledgedInOrder(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	c := login(t, r.service.Addr(), v5, "T")
	r.Bus.Hold()
	const n = 100
	for i := range n {
		switch i % 4 {
		case 0:
			c.publish(1, "wrong/topic", `{}`) // known at once, told in its turn
		case 1:
			c.publish(1, telemetryTopic, `nonsense`)
		default:
			c.publish(1, telemetryTopic, `{"t":1}`)
		}
	}
	r.AwaitHeld(t, n/2)
	c.expectReason(packets.Puback, 0x90)
	c.expectReason(packets.Puback, 0x99)
	c.expectNothing()
	r.Bus.Release(nil)
	for i := 2; i < n; i++ {
		if pk := c.expect(packets.Puback); int(pk.PacketID) != i+1 {
			t.Fatalf("PUBACK of %d, want of %d", pk.PacketID, i+1)
		}
	}
}

// TestWindow: a client that does not wait for acknowledgements is read no further than the window.
func TestWindow(t *testing.T) {
	r := start(t, func(c *Config) { c.InFlight = 4 })
	r.Core.AddDevice("T")
	c := login(t, r.service.Addr(), v311, "T")
	r.Bus.Hold()
	const n = 50
	for range n {
		c.publish(1, telemetryTopic, `{"t":1}`)
	}
	r.AwaitHeld(t, 4)
	c.expectNothing()
	if held := r.Bus.Held(); held != 4 {
		t.Errorf("%d taken on, want 4", held)
	}
	r.Bus.Release(nil)
	for i := range n {
		if pk := c.expect(packets.Puback); int(pk.PacketID) != i+1 {
			t.Fatalf("PUBACK of %d, want of %d", pk.PacketID, i+1)
		}
	}
	r.Uplinks(t, n)
}

// TestBusFull: with the bus full the connection waits; nothing is lost and nothing sent twice.
func TestBusFull(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	c := login(t, r.service.Addr(), v311, "T")
	r.Bus.SetFull(true)
	c.publish(1, telemetryTopic, `{"t":1}`)
	c.publish(1, telemetryTopic, `{"t":2}`)
	c.expectNothing()
	r.Bus.SetFull(false)
	c.expect(packets.Puback)
	c.expect(packets.Puback)
	r.Uplinks(t, 2)
}

// TestBusFails: MQTT 5 is told by a reason code, earlier versions by the end of the connection.
func TestBusFails(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	r.Bus.Fail(bus.ErrUnavailable)
	c := login(t, r.service.Addr(), v5, "T")
	c.publish(1, telemetryTopic, `{"t":1}`)
	c.expectReason(packets.Puback, 0x83)
	c.publish(0, telemetryTopic, `{"t":1}`)
	c.expectRefusal(0x83)
	for _, qos := range []byte{0, 1, 2} {
		old := login(t, r.service.Addr(), v311, "T")
		old.publish(qos, telemetryTopic, `{"t":1}`)
		old.expectClosed()
	}
}

func TestQoS2(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	c := login(t, r.service.Addr(), v311, "T")
	r.Bus.Hold()
	id := c.publish(2, telemetryTopic, `{"t":1}`)
	again := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 2, Dup: true}, PacketID: id, TopicName: telemetryTopic, Payload: []byte(`{"t":1}`),
	}
	c.send(again)
	r.AwaitHeld(t, 1)
	c.expectNothing()
	r.Bus.Release(nil)
	c.expect(packets.Pubrec)
	c.send(again)
	c.expect(packets.Pubrec)
	for range 2 { // the client may not have seen the first PUBCOMP
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: id})
		if pk := c.expect(packets.Pubcomp); pk.PacketID != id {
			t.Errorf("PUBCOMP of %d, want of %d", pk.PacketID, id)
		}
	}
	r.Uplinks(t, 1)

	c5 := login(t, r.service.Addr(), v5, "T")
	c5.publish(2, telemetryTopic, `{"t":1}`)
	c5.expectRefusal(0x9B)
}
