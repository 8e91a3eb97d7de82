package mqtttransport

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

const (
	gatewayConnect    = "v1/gateway/connect"
	gatewayDisconnect = "v1/gateway/disconnect"
	gatewayTelemetry  = "v1/gateway/telemetry"
	gatewayAttributes = "v1/gateway/attributes"
	gatewayRequest    = "v1/gateway/attributes/request"
	gatewayResponse   = "v1/gateway/attributes/response"
	gatewayRPC        = "v1/gateway/rpc"
	gatewayClaim      = "v1/gateway/claim"
)

// gatewayBench is a gateway, connected, with what is around it.
type gatewayBench struct {
	*rig
	*client
	gateway *transporttest.Device
}

func startGateway(t *testing.T, version byte, change func(*Config)) *gatewayBench {
	t.Helper()
	r := start(t, change)
	g := r.Core.AddDevice("TG")
	g.Gateway = true
	return &gatewayBench{rig: r, client: login(t, r.service.Addr(), version, "TG"), gateway: g}
}

// child is the device of that name, which must be there.
func (b *gatewayBench) child(name string) *transporttest.Device {
	b.client.t.Helper()
	d := b.Core.Child(b.gateway, name)
	if d == nil {
		b.client.t.Fatalf("device %s was not created", name)
	}
	return d
}

// answered publishes at QoS 1 and checks the reason of PUBACK.
func (c *client) answered(topic, payload string, reason byte) {
	c.t.Helper()
	id := c.publish(1, topic, payload)
	pk := c.expect(packets.Puback)
	if pk.PacketID != id || c.version == v5 && pk.ReasonCode != reason {
		c.t.Errorf("%s %.60s: PUBACK of %d with %#x, want of %d with %#x", topic, payload, pk.PacketID, pk.ReasonCode, id, reason)
	}
}

// stored are the readings the bus has, as name/key=value.
func (b *gatewayBench) stored(n int) map[string]bool {
	b.client.t.Helper()
	found := map[string]bool{}
	for _, u := range b.Uplinks(b.client.t, n) {
		for _, r := range u.Telemetry {
			for _, kv := range r.Values {
				found[fmt.Sprintf("%s/%s=%d", u.DeviceName, kv.Key, kv.Long())] = true
			}
		}
		for _, kv := range u.Attributes {
			found[fmt.Sprintf("%s/%s:%d", u.DeviceName, kv.Key, kv.Long())] = true
		}
	}
	return found
}

func (b *gatewayBench) expectStored(n int, want ...string) {
	b.client.t.Helper()
	found := b.stored(n)
	for _, w := range want {
		if !found[w] {
			b.client.t.Errorf("%s is not stored; %v is", w, found)
		}
	}
}

// closedSession waits until the core was told that a session of d is over.
func (b *gatewayBench) closedSession(d *transporttest.Device) {
	b.client.t.Helper()
	b.Report(b.client.t, func(m *sluicepb.CoreMessage) bool {
		return m.GetSessionClosed() != nil && string(m.GetEntity().GetId()) == string(d.ID.ID[:])
	})
}

// TestGateway is the acceptance cases of device-api §8.4.
func TestGateway(t *testing.T) {
	for id, test := range map[string]func(*testing.T){
		"G01 connect": func(t *testing.T) {
			b := startGateway(t, v5, nil)
			b.acknowledged(gatewayConnect, `{"device":"A"}`)
			if a := b.child("A"); a.Type != "default" || a.Behind != b.gateway.ID {
				t.Errorf("type %s, made for %v", a.Type, a.Behind)
			}
			b.Session(t, b.child("A"), true)
		},
		"G02 connect with a type": func(t *testing.T) {
			b := startGateway(t, v311, nil)
			b.acknowledged(gatewayConnect, `{"device":"B","type":"meter"}`)
			if d := b.child("B"); d.Type != "meter" {
				t.Errorf("type %s", d.Type)
			}
		},
		"G03 telemetry of two devices": func(t *testing.T) {
			b := startGateway(t, v311, nil)
			b.Bus.Hold()
			b.publish(1, gatewayTelemetry, `{"A":[{"ts":1,"values":{"t":1}},{"t":2}],"C":[{"h":3}]}`)
			b.AwaitHeld(t, 2)
			b.alive() // not acknowledged yet
			b.Bus.Release(nil)
			b.expectReason(packets.Puback, 0)
			b.expectStored(2, "A/t=1", "A/t=2", "C/h=3")
			b.child("C")
			b.alive() // only one acknowledgement
		},
		"G04 no array": func(t *testing.T) {
			for _, version := range []byte{v311, v5} {
				b := startGateway(t, version, nil)
				b.answered(gatewayTelemetry, `{"A":{"t":1}}`, 0x83)
				b.expectRefusal(0x83)
			}
		},
		"G05 no array beside a good one": func(t *testing.T) {
			b := startGateway(t, v5, nil)
			b.acknowledged(gatewayTelemetry, `{"A":{"t":1},"B":[{"t":1}]}`)
			b.expectStored(1, "B/t=1")
		},
		"G06 bad content": func(t *testing.T) {
			b := startGateway(t, v5, nil)
			b.answered(gatewayTelemetry, `{"A":[5],"B":[{"t":1}]}`, 0x99)
			b.expectStored(1, "B/t=1")
			b.alive()
			b = startGateway(t, v311, nil)
			b.publish(1, gatewayTelemetry, `{"A":[5]}`)
			b.expectClosed()
		},
		"G07 attributes": func(t *testing.T) {
			b := startGateway(t, v311, nil)
			b.acknowledged(gatewayAttributes, `{"A":{"k":1}}`)
			b.expectStored(1, "A/k:1")
		},
		"G08 shared attributes": func(t *testing.T) {
			b := startGateway(t, v311, nil)
			b.acknowledged(gatewayConnect, `{"device":"A"}`)
			b.UpdateAttributes(t, b.child("A"), []telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(1)}}, "l")
			b.expectMessage(gatewayAttributes, `{"device":"A","data":{"k":1}}`, 1)
			b.expectMessage(gatewayAttributes, `{"device":"A","data":{"deleted":["l"]}}`, 1)
			b.subscribe(0, gatewayAttributes)
			b.UpdateAttributes(t, b.child("A"), []telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(2)}})
			b.expectMessage(gatewayAttributes, `{"device":"A","data":{"k":2}}`, 0)
		},
		"G09 attribute request": func(t *testing.T) {
			b := startGateway(t, v5, nil)
			b.acknowledged(gatewayConnect, `{"device":"A"}`)
			a := b.child("A")
			b.Core.Change(func() { a.Shared = []telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(1)}} })
			b.acknowledged(gatewayRequest, `{"id":1,"device":"A","client":false,"keys":["k"]}`)
			b.expectMessage(gatewayResponse, `{"id":1,"device":"A","value":1}`, 1)
		},
		"G10 attribute request of two keys": func(t *testing.T) {
			b := startGateway(t, v311, nil)
			b.acknowledged(gatewayConnect, `{"device":"A"}`)
			a := b.child("A")
			b.Core.Change(func() { a.Client = []telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(1)}} })
			b.acknowledged(gatewayRequest, `{"id":2,"device":"A","client":true,"keys":["k","l"]}`)
			b.expectMessage(gatewayResponse, `{"id":2,"device":"A","values":{"k":1}}`, 1)
			b.acknowledged(gatewayRequest, `{"id":3,"device":"A","client":true,"key":"l"}`)
			b.expectMessage(gatewayResponse, `{"id":3,"device":"A"}`, 1)
		},
		"G11 request and reply": func(t *testing.T) {
			b := startGateway(t, v311, nil)
			b.acknowledged(gatewayConnect, `{"device":"A"}`)
			b.SendRPC(t, b.child("A"), &sluicepb.RpcRequest{
				RequestId: 5, Method: "m", Params: `{"p":1}`, ExpiresAtMs: time.Now().Add(time.Minute).UnixMilli(),
			})
			b.expectMessage(gatewayRPC, `{"device":"A","data":{"id":5,"method":"m","params":{"p":1}}}`, 1)
			b.acknowledged(gatewayRPC, `{"device":"A","id":5,"data":{"ok":true}}`)
			reply := b.Report(t, func(m *sluicepb.CoreMessage) bool { return m.GetRpcReply() != nil }).GetRpcReply()
			if reply.GetRequestId() != 5 || reply.GetPayload() != `{"ok":true}` {
				t.Errorf("reply %v", reply)
			}
		},
		"G12 disconnect": func(t *testing.T) {
			b := startGateway(t, v311, nil)
			b.acknowledged(gatewayConnect, `{"device":"A"}`)
			session := b.Session(t, b.child("A"), true)
			b.acknowledged(gatewayDisconnect, `{"device":"A"}`)
			b.closedSession(b.child("A"))
			if err := b.Bus.Deliver(&sluicepb.DeviceDownlink{SessionId: session[:], Body: &sluicepb.DeviceDownlink_AttributesUpdated{
				AttributesUpdated: &sluicepb.AttributesUpdated{Deleted: []string{"k"}},
			}}); err != nil {
				t.Fatal(err)
			}
			b.acknowledged(gatewayDisconnect, `{"device":"never seen"}`)
			b.alive()
		},
		"G13 an empty name": func(t *testing.T) {
			for _, version := range []byte{v311, v5} {
				b := startGateway(t, version, nil)
				b.answered(gatewayConnect, `{"device":""}`, 0x83)
				b.expectRefusal(0x83)
			}
		},
		"G14 no gateway": func(t *testing.T) {
			r := start(t, nil)
			r.Core.AddDevice("T")
			for _, version := range []byte{v311, v5} {
				c := login(t, r.service.Addr(), version, "T")
				c.publish(1, gatewayTelemetry, `{"A":[{"t":1}]}`)
				c.acknowledged(telemetryTopic, `{"t":1}`) // and nothing before
			}
			r.Uplinks(t, 2)
		},
		"G15 too many devices": func(t *testing.T) {
			for _, version := range []byte{v311, v5} {
				b := startGateway(t, version, nil)
				b.Core.Change(func() { b.gateway.MaxDevices = 1 })
				b.publish(1, gatewayTelemetry, `{"A":[{"t":1}]}`)
				if version != v5 {
					b.expectClosed() // there is no other way to tell
					continue
				}
				b.expectMessage(gatewayDisconnect, `{"device":"A","reason":128}`, 1)
				b.expectReason(packets.Puback, 0x97)
				b.alive()
			}
		},
		"G16 claim": func(t *testing.T) {
			b := startGateway(t, v311, nil)
			b.acknowledged(gatewayClaim, `{"A":{"secretKey":"s","durationMs":60000}}`)
			claim := b.Report(t, func(m *sluicepb.CoreMessage) bool { return m.GetClaim() != nil })
			if c := claim.GetClaim(); c.GetSecret() != "s" || c.GetDurationMs() != 60000 {
				t.Errorf("claim %v", c)
			}
			if a := b.child("A"); string(claim.GetEntity().GetId()) != string(a.ID.ID[:]) {
				t.Error("claimed for another device")
			}
		},
		"G17 the connection is lost": func(t *testing.T) {
			b := startGateway(t, v311, nil)
			b.acknowledged(gatewayTelemetry, `{"A":[{"t":1}],"B":[{"t":1}],"C":[{"t":1}]}`)
			b.conn.Close()
			for _, name := range []string{"A", "B", "C"} {
				b.closedSession(b.child(name))
			}
		},
		"G18 metadata": func(t *testing.T) {
			b := startGateway(t, v311, func(c *Config) { c.GatewayMetrics = 10 * time.Millisecond })
			now := time.Now().UnixMilli()
			b.acknowledged(gatewayTelemetry, fmt.Sprintf(
				`{"A":[{"ts":1,"values":{"t":1},"metadata":{"connector":"modbus","receivedTs":%d,"publishedTs":%d}}]}`, now-30, now-10))
			for _, u := range b.Uplinks(t, 2) {
				switch values := u.Telemetry[0].Values; {
				case u.DeviceName == "A" && (len(u.Telemetry) != 1 || len(values) != 1 || values[0].Key != "t"):
					t.Errorf("stored %v", u.Telemetry)
				case u.DeviceName != "A" && (values[0].Key != "gatewayMetrics" || !strings.HasPrefix(values[0].Text(), `{"modbus":{"avgGwLatency":20,`)):
					t.Errorf("told %v", values)
				}
			}
			b.publish(1, gatewayTelemetry, `{"A":[{"t":1,"metadata":{"connector":"modbus"}}]}`)
			b.expectClosed()
		},
		"G19 another gateway takes a device over": func(t *testing.T) {
			b := startGateway(t, v5, nil)
			b.acknowledged(gatewayConnect, `{"device":"A"}`)
			second := &transporttest.Device{}
			b.Core.Change(func() { *second = *b.gateway })
			second.Token, second.Name = "TG2", "second"
			second.ID.ID[0]++
			b.Core.Add(second)
			other := login(t, b.service.Addr(), v5, "TG2")
			other.acknowledged(gatewayConnect, `{"device":"A"}`)
			b.SendRPC(t, b.child("A"), &sluicepb.RpcRequest{RequestId: 1, Method: "m", Params: `{}`, ExpiresAtMs: time.Now().Add(time.Minute).UnixMilli()})
			other.expectMessage(gatewayRPC, `{"device":"A","data":{"id":1,"method":"m","params":{}}}`, 1)
			b.alive() // it was told nothing
			b.acknowledged(gatewayRPC, `{"device":"A","id":1,"data":1}`)
			b.Report(t, func(m *sluicepb.CoreMessage) bool { return m.GetRpcReply() != nil })
			b.SendRPC(t, b.child("A"), &sluicepb.RpcRequest{RequestId: 2, Method: "n", Params: `{}`, ExpiresAtMs: time.Now().Add(time.Minute).UnixMilli()})
			other.expectMessage(gatewayRPC, `{"device":"A","data":{"id":2,"method":"n","params":{}}}`, 1)
		},
		"G20 no JSON": func(t *testing.T) {
			b := startGateway(t, v5, nil)
			b.answered(gatewayTelemetry, `{"A":[{"t":1}]`, 0x99)
			b.alive()
			b.publish(0, gatewayTelemetry, `{"A":[{"t":1}]`)
			b.expectRefusal(0x99)
			b = startGateway(t, v311, nil)
			b.publish(1, gatewayTelemetry, `{"A":[{"t":1}]`)
			b.expectClosed()
		},
		"G21 QoS 0": func(t *testing.T) {
			b := startGateway(t, v5, nil)
			b.publish(0, gatewayTelemetry, `{"A":[{"t":1}]}`)
			b.expectStored(1, "A/t=1")
			b.alive()
			b.acknowledged(gatewayTelemetry, `{"A":[{"t":2}]}`) // and nothing before
		},
	} {
		t.Run(id, test)
	}
}

// TestStuckDeviceHoldsUpNobody: while a device is being found, others' messages are published; the acknowledgements keep their order.
func TestStuckDeviceHoldsUpNobody(t *testing.T) {
	b := startGateway(t, v311, nil)
	b.acknowledged(gatewayConnect, `{"device":"B"}`)
	resume := b.Core.Stall()
	first := b.publish(1, gatewayTelemetry, `{"A":[{"t":1}],"B":[{"t":1}]}`)
	second := b.publish(1, gatewayTelemetry, `{"B":[{"t":2}]}`)
	b.expectStored(2, "B/t=1", "B/t=2")
	b.alive() // and nothing before
	resume()
	for _, id := range []uint16{first, second} {
		if pk := b.expect(packets.Puback); pk.PacketID != id {
			t.Errorf("PUBACK of %d, want of %d", pk.PacketID, id)
		}
	}
	b.expectStored(3, "A/t=1")
}

// TestGatewayBeyondItsQueue: when too much waits for devices the gateway is read no further, and goes on later.
func TestGatewayBeyondItsQueue(t *testing.T) {
	b := startGateway(t, v311, func(c *Config) { c.GatewayQueuedBytes = 1024 })
	b.acknowledged(gatewayConnect, `{"device":"B"}`)
	resume := b.Core.Stall()
	const messages = 20
	for range messages {
		b.publish(1, gatewayTelemetry, `{"A":[{"t":1}]}`)
	}
	b.publish(1, gatewayTelemetry, `{"B":[{"t":1}]}`)
	b.expectNothing()
	b.expectStored(0)
	resume()
	for range messages + 1 {
		b.expectReason(packets.Puback, 0)
	}
	b.expectStored(messages+1, "A/t=1", "B/t=1")
}

// TestGatewayWithoutThePlatform: what could not be taken on is never acknowledged.
func TestGatewayWithoutThePlatform(t *testing.T) {
	for _, version := range []byte{v311, v5} {
		b := startGateway(t, version, nil)
		b.acknowledged(gatewayConnect, `{"device":"A"}`)
		b.Bus.Fail(bus.ErrDeadline)
		b.publish(1, gatewayTelemetry, `{"A":[{"t":1}]}`)
		if version == v311 {
			b.expectClosed()
			continue
		}
		b.expectMessage(gatewayDisconnect, `{"device":"A","reason":128}`, 1)
		b.expectReason(packets.Puback, 0x80)
		b.alive()
	}
}

// TestGatewaysRates: a device behind a gateway that sends too much does not cost an MQTT 5 gateway its connection, and what was
// refused is never acknowledged.
func TestGatewaysRates(t *testing.T) {
	for _, version := range []byte{v311, v5} {
		r := &rig{Rig: transporttest.Start(t, func(c *transport.Config) { c.DeviceLimits.Telemetry = "1:3600" })}
		g := r.Core.AddDevice("TG")
		g.Gateway = true
		s, stop := serve(t, r.Transport, nil)
		t.Cleanup(stop)
		b := &gatewayBench{rig: r, client: login(t, s.Addr(), version, "TG"), gateway: g}
		b.acknowledged(gatewayTelemetry, `{"A":[{"t":1}]}`)
		b.publish(1, gatewayTelemetry, `{"A":[{"t":2}],"B":[{"t":1}]}`)
		if version == v5 {
			b.expectMessage(gatewayDisconnect, `{"device":"A","reason":150}`, 1)
			b.expectReason(packets.Puback, 0x97)
			b.alive()
		} else {
			b.expectClosed() // there is no other way to tell
		}
		b.expectStored(2, "A/t=1", "B/t=1")
	}
}

// TestGatewaysBurst: what comes for very many devices at once waits for a gateway that is slow to acknowledge it.
func TestGatewaysBurst(t *testing.T) {
	const devices, name = 2000, "Device with a long name %04d"
	b := startGateway(t, v311, nil)
	var payload strings.Builder
	for i := range devices {
		fmt.Fprintf(&payload, `,"`+name+`":{}`, i)
		if payload.Len() > 30000 || i == devices-1 {
			b.acknowledged(gatewayAttributes, "{"+payload.String()[1:]+"}")
			payload.Reset()
		}
	}
	updated := &sluicepb.AttributesUpdated{Updated: telemetry.ToProto([]telemetry.KeyValue{{Key: "k", Value: telemetry.OfString(strings.Repeat("v", 100))}})}
	sent := 0
	for _, m := range b.Reports(t, devices+1) {
		opened := m.GetSessionOpened()
		if opened == nil || string(m.GetEntity().GetId()) == string(b.gateway.ID.ID[:]) {
			continue
		}
		sent++
		if err := b.Bus.Deliver(&sluicepb.DeviceDownlink{
			SessionId: opened.GetSessionId(), Body: &sluicepb.DeviceDownlink_AttributesUpdated{AttributesUpdated: updated},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if sent != devices {
		t.Fatalf("%d sessions, want %d", sent, devices)
	}
	for range devices {
		pk := b.expect(packets.Publish)
		b.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID})
	}
	b.alive()
}

// TestGatewaysActivityCounts: with overwriteActivityTime a gateway's ping is heard of the devices behind it.
func TestGatewaysActivityCounts(t *testing.T) {
	r := &rig{Rig: transporttest.Start(t, func(c *transport.Config) { c.ActivityReport = 20 * time.Millisecond })}
	g := r.Core.AddDevice("TG")
	g.Gateway, g.Overwrite = true, true
	s, stop := serve(t, r.Transport, func(c *Config) { c.GatewayActivity = 20 * time.Millisecond })
	t.Cleanup(stop)
	b := &gatewayBench{rig: r, client: login(t, s.Addr(), v5, "TG"), gateway: g}
	b.acknowledged(gatewayConnect, `{"device":"A"}`)
	b.alive()
	a := b.child("A")
	r.Report(t, func(m *sluicepb.CoreMessage) bool {
		return m.GetActivity() != nil && string(m.GetEntity().GetId()) == string(a.ID.ID[:])
	})
}
