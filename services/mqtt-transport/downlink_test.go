package mqtttransport

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

// updated has the core tell the newest session of changed and deleted shared attributes.
func (r *rig) updated(t *testing.T, values []telemetry.KeyValue, deleted ...string) {
	t.Helper()
	reports := r.Reports(t, 1)
	var session []byte
	for _, m := range reports {
		if opened := m.GetSessionOpened(); opened != nil {
			session = opened.GetSessionId()
		}
	}
	err := r.Bus.Deliver(&sluicepb.DeviceDownlink{SessionId: session, Body: &sluicepb.DeviceDownlink_AttributesUpdated{
		AttributesUpdated: &sluicepb.AttributesUpdated{Updated: telemetry.ToProto(values), Deleted: deleted},
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func (c *client) expectMessage(topic, payload string, qos byte) {
	c.t.Helper()
	pk := c.expect(packets.Publish)
	if pk.TopicName != topic || string(pk.Payload) != payload || pk.FixedHeader.Qos != qos {
		c.t.Errorf("message %s on %s at QoS %d, want %s on %s at %d", pk.Payload, pk.TopicName, pk.FixedHeader.Qos, payload, topic, qos)
	}
	if qos > 0 {
		c.acknowledge(pk)
	}
}

// acknowledge sends the PUBACK of a message.
func (c *client) acknowledge(pk packets.Packet) {
	c.t.Helper()
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID})
}

// TestAttributeUpdates: M46, M47, M48.
func TestAttributeUpdates(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	x := []telemetry.KeyValue{{Key: "x", Value: telemetry.OfLong(1)}}
	for _, version := range []byte{v311, v5} {
		c := login(t, r.service.Addr(), version, "T")
		r.updated(t, x) // not subscribed: not told
		if codes := c.subscribe(1, attributeTopic); !bytes.Equal(codes, []byte{1}) {
			t.Fatalf("granted %v", codes)
		}
		r.updated(t, x)
		c.expectMessage(attributeTopic, `{"x":1}`, 1)
		r.updated(t, nil, "x")
		c.expectMessage(attributeTopic, `{"deleted":["x"]}`, 1)
		c.subscribe(0, "v2/a/j")
		r.updated(t, x)
		c.expectMessage("v2/a/j", `{"x":1}`, 0)
		if codes := c.unsubscribe("v2/a/j"); version == v5 && !bytes.Equal(codes, []byte{0}) {
			t.Errorf("UNSUBACK %v", codes)
		}
		r.updated(t, x)
		if codes := c.unsubscribe("v2/a/j"); version == v5 && !bytes.Equal(codes, []byte{0x11}) {
			t.Errorf("second UNSUBACK %v", codes)
		}
		c.expectNothing()
	}
}

// TestSubscribe: M54, M55, and the filters of device-api §1.6.
func TestSubscribe(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	for version, refused := range map[byte]byte{v311: 0x80, v5: 0x8F} {
		c := login(t, r.service.Addr(), version, "T")
		for _, filter := range []string{"#", "v1/devices/me/#", "v1/devices/me/attributes/response/7", "foo"} {
			if codes := c.subscribe(1, filter); !bytes.Equal(codes, []byte{refused}) {
				t.Errorf("%s: %v, want %#x", filter, codes, refused)
			}
		}
		if codes := c.subscribe(2, attributeTopic, "foo", "v1/devices/me/rpc/request/+"); !bytes.Equal(codes, []byte{1, refused, 1}) {
			t.Errorf("several filters: %v", codes)
		}
		c.alive()
	}
}

// TestAttributeRequests: M49, M50, M51.
func TestAttributeRequests(t *testing.T) {
	r := start(t, nil)
	d := r.Core.AddDevice("T")
	r.Core.Change(func() {
		d.Client = []telemetry.KeyValue{{Key: "a", Value: telemetry.OfLong(1)}, {Key: "b", Value: telemetry.OfDouble(42)}}
		d.Shared = []telemetry.KeyValue{{Key: "x", Value: telemetry.OfString("y")}}
	})
	for _, version := range []byte{v311, v5} {
		c := login(t, r.service.Addr(), version, "T")
		for _, row := range []struct{ topic, request, answer string }{
			{"v1/devices/me/attributes/request/7", `{"clientKeys":"a,b","sharedKeys":"x"}`, `{"client":{"a":1,"b":42.0},"shared":{"x":"y"}}`},
			{"v1/devices/me/attributes/request/2147483647", `{"clientKeys":"a"}`, `{"client":{"a":1}}`},
			{"v2/a/req/0", `{}`, `{"client":{"a":1,"b":42.0},"shared":{"x":"y"}}`},
			{"v2/a/req/j/12", ` {"clientKeys":"nope"}`, `{}`},
		} {
			c.acknowledged(row.topic, row.request)
			answer := strings.NewReplacer("request", "response", "req", "res").Replace(row.topic)
			c.expectMessage(answer, row.answer, 1)
		}
	}
	c := login(t, r.service.Addr(), v311, "T")
	c.subscribe(0, "v1/devices/me/attributes/response/+")
	c.acknowledged("v1/devices/me/attributes/request/1", `{"sharedKeys":"x"}`)
	c.expectMessage("v1/devices/me/attributes/response/1", `{"shared":{"x":"y"}}`, 0)
}

// TestAttributeReadsAreBounded: the request after the last that may be answered at a time waits.
func TestAttributeReadsAreBounded(t *testing.T) {
	r := start(t, func(c *Config) { c.AttributeReads = 1 })
	r.Core.AddDevice("T")
	c := login(t, r.service.Addr(), v311, "T")
	resume := r.Core.Stall()
	asked := r.Core.Asked()
	c.acknowledged("v1/devices/me/attributes/request/1", `{}`)
	c.publish(1, "v1/devices/me/attributes/request/2", `{}`)
	c.expectNothing()
	if n := r.Core.Asked() - asked; n > 1 {
		t.Errorf("the core was asked %d times", n)
	}
	resume()
	for range 3 { // two answers and the second acknowledgement, whose order is free
		if _, err := c.read(patience); err != nil {
			t.Fatal(err)
		}
	}
}

// TestClientsBounds: what the platform sends keeps to what an MQTT 5 client said it takes.
func TestClientsBounds(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	c := dial(t, r.service.Addr(), v5)
	pk := hello("", "T", "-")
	pk.Properties.MaximumPacketSize, pk.Properties.ReceiveMaximum = 200, 1
	c.connect(pk)
	c.subscribe(1, attributeTopic)
	r.updated(t, []telemetry.KeyValue{{Key: "big", Value: telemetry.OfString(strings.Repeat("x", 200))}})
	r.updated(t, []telemetry.KeyValue{{Key: "n", Value: telemetry.OfLong(1)}})
	r.updated(t, []telemetry.KeyValue{{Key: "n", Value: telemetry.OfLong(2)}})
	first := c.expect(packets.Publish)
	c.expectNothing() // before the first is acknowledged
	c.acknowledge(first)
	c.expectMessage(attributeTopic, `{"n":2}`, 1)
	c.alive()
	r.updated(t, []telemetry.KeyValue{{Key: "n", Value: telemetry.OfLong(3)}})
	c.expectMessage(attributeTopic, `{"n":3}`, 1)
}
