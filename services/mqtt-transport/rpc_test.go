package mqtttransport

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

const rpcFilter = "v1/devices/me/rpc/request/+"

// startDevice starts a service and a client of a device that is changed by change (may be nil).
func startDevice(t *testing.T, version byte, change func(*transporttest.Device)) (*rig, *transporttest.Device, *client) {
	t.Helper()
	r := start(t, nil)
	d := r.Core.AddDevice("T")
	if change != nil {
		r.Core.Change(func() { change(d) })
	}
	return r, d, login(t, r.service.Addr(), version, "T")
}

// awaitStage waits until the core was told that the request got that far.
func (r *rig) awaitStage(t *testing.T, rpc ident.ID, stage sluicepb.RpcStage) {
	t.Helper()
	r.Report(t, func(m *sluicepb.CoreMessage) bool {
		p := m.GetRpcProgress()
		return p != nil && p.GetStage() == stage && bytes.Equal(p.GetRpcId(), rpc[:])
	})
}

// awaitReply waits for what the device answered to request id.
func (r *rig) awaitReply(t *testing.T, id int32) string {
	t.Helper()
	return r.Report(t, func(m *sluicepb.CoreMessage) bool {
		return m.GetRpcReply() != nil && m.GetRpcReply().GetRequestId() == id
	}).GetRpcReply().GetPayload()
}

func request(id int32) (*sluicepb.RpcRequest, ident.ID) {
	rpc := ident.New()
	return &sluicepb.RpcRequest{
		RequestId: id, RpcId: rpc[:], Method: "m", Params: `{"p":1}`, Persistent: true, AcknowledgeWithinMs: 60_000,
		ExpiresAtMs: time.Now().Add(time.Hour).UnixMilli(),
	}, rpc
}

// TestM60ServerRPC: a request goes out on the topic subscribed to last, and the reply comes back, acknowledged.
func TestM60ServerRPC(t *testing.T) {
	for _, style := range []struct{ filter, request, reply string }{
		{rpcFilter, "v1/devices/me/rpc/request/", "v1/devices/me/rpc/response/"},
		{"v2/r/req/+", "v2/r/req/", "v2/r/res/"},
		{"v2/r/req/j/+", "v2/r/req/j/", "v2/r/res/j/"},
	} {
		for _, version := range []byte{v311, v5} {
			r, d, c := startDevice(t, version, nil)
			c.subscribe(1, style.filter)
			first, rpc := request(0)
			r.SendRPC(t, d, first)
			pk := c.expect(packets.Publish)
			if pk.TopicName != style.request+"0" || string(pk.Payload) != `{"method":"m","params":{"p":1}}` || pk.FixedHeader.Qos != 1 {
				t.Errorf("request %s on %s at QoS %d", pk.Payload, pk.TopicName, pk.FixedHeader.Qos)
			}
			r.awaitStage(t, rpc, sluicepb.RpcStage_RPC_SENT)
			c.acknowledge(pk) // one that is acknowledged before it is seen to be written is told of once
			r.awaitStage(t, rpc, sluicepb.RpcStage_RPC_DELIVERED)
			c.acknowledged(style.reply+"0", `{"ok":1}`)
			if reply := r.awaitReply(t, 0); reply != `{"ok":1}` {
				t.Errorf("reply %s", reply)
			}
		}
	}
}

// TestM61AnyReply: what is no JSON is a reply as well, and so is nothing at all.
func TestM61AnyReply(t *testing.T) {
	r, _, c := startDevice(t, v5, nil)
	for id, text := range []string{"not json", ""} {
		c.acknowledged("v1/devices/me/rpc/response/"+string(rune('0'+id)), text)
		if reply := r.awaitReply(t, int32(id)); reply != text {
			t.Errorf("reply %q, want %q", reply, text)
		}
	}
	c.publish(1, "v1/devices/me/rpc/response/x", `{}`)
	c.expectReason(packets.Puback, 0x99)
}

// TestCallIsAcknowledgedOnceTheBusHasIt: not before; and what the bus has no room for waits.
func TestCallIsAcknowledgedOnceTheBusHasIt(t *testing.T) {
	r, _, c := startDevice(t, v5, nil)
	r.Bus.Hold()
	c.publish(1, "v1/devices/me/rpc/request/1", `{"method":"m"}`)
	r.AwaitHeld(t, 1)
	c.expectNothing()
	r.AnswerCall(t, r.Call(t, 0), `1`) // the answer waits for the acknowledgement
	c.expectNothing()
	r.Bus.Release(nil)
	c.expectReason(packets.Puback, 0)
	c.expectMessage("v1/devices/me/rpc/response/1", `1`, 1)
	r.Bus.SetFull(true)
	c.publish(1, "v1/devices/me/rpc/request/2", `{"method":"m"}`)
	c.expectNothing()
	r.Bus.SetFull(false)
	c.expectReason(packets.Puback, 0)
}

// TestM66QoS0: the request goes out as it was subscribed to, and is delivered with that.
func TestM66QoS0(t *testing.T) {
	r, d, c := startDevice(t, v311, nil)
	c.subscribe(0, rpcFilter)
	one, rpc := request(3)
	r.SendRPC(t, d, one)
	c.expectMessage("v1/devices/me/rpc/request/3", `{"method":"m","params":{"p":1}}`, 0)
	r.awaitStage(t, rpc, sluicepb.RpcStage_RPC_DELIVERED)
}

// TestM65Unacknowledged: a request without PUBACK times out, and comes again under its packet id when the platform asks for it.
func TestM65Unacknowledged(t *testing.T) {
	r, d, c := startDevice(t, v311, nil)
	c.subscribe(1, rpcFilter)
	one, rpc := request(3)
	one.AcknowledgeWithinMs = 1
	r.SendRPC(t, d, one)
	first := c.expect(packets.Publish)
	r.awaitStage(t, rpc, sluicepb.RpcStage_RPC_TIMED_OUT)
	again, _ := request(3)
	again.RpcId, again.Again = rpc[:], true
	r.SendRPC(t, d, again)
	second := c.expect(packets.Publish)
	if first.FixedHeader.Dup || !second.FixedHeader.Dup || first.PacketID != second.PacketID {
		t.Errorf("sent as %d, DUP %v, then as %d, DUP %v", first.PacketID, first.FixedHeader.Dup, second.PacketID, second.FixedHeader.Dup)
	}
	c.acknowledge(second)
	r.awaitStage(t, rpc, sluicepb.RpcStage_RPC_DELIVERED)
	next := login(t, r.service.Addr(), v311, "T")
	next.subscribe(1, rpcFilter)
	r.SendRPC(t, d, again)
	if pk := next.expect(packets.Publish); !pk.FixedHeader.Dup {
		t.Error("not told on the next connection that it came before")
	}
}

// TestUnsubscribedRPC: who takes no requests any more is sent none.
func TestUnsubscribedRPC(t *testing.T) {
	r, d, c := startDevice(t, v5, nil)
	c.subscribe(1, rpcFilter)
	session := r.Session(t, d, true)
	if codes := c.unsubscribe(rpcFilter); !bytes.Equal(codes, []byte{0}) {
		t.Errorf("UNSUBACK %v", codes)
	}
	r.Report(t, func(m *sluicepb.CoreMessage) bool {
		s := m.GetSessionSubscribed()
		return s != nil && !s.GetRpc() && bytes.Equal(s.GetSessionId(), session[:])
	})
	if codes := c.unsubscribe(rpcFilter, "foo"); !bytes.Equal(codes, []byte{0x11, 0x11}) {
		t.Errorf("second UNSUBACK %v", codes)
	}
}

// TestM67ClientRPC: the rule chain's answer comes back in the style of the request, subscribed to or not.
func TestM67ClientRPC(t *testing.T) {
	for i, style := range []struct{ request, answer string }{
		{"v1/devices/me/rpc/request/3", "v1/devices/me/rpc/response/3"}, {"v2/r/req/4", "v2/r/res/4"}, {"v2/r/req/j/5", "v2/r/res/j/5"},
	} {
		r, _, c := startDevice(t, []byte{v311, v5, v5}[i], nil)
		c.acknowledged(style.request, `{"method":"getTime","params":{}}`)
		call := r.Call(t, 0)
		if string(call.GetData()) != `{"method":"getTime","params":{}}` || call.GetType() != "TO_SERVER_RPC_REQUEST" {
			t.Errorf("call %s of type %s", call.GetData(), call.GetType())
		}
		r.AnswerCall(t, call, `{"time":1}`)
		c.expectMessage(style.answer, `{"time":1}`, 1)
	}
}

func TestClientRPCRefused(t *testing.T) {
	_, _, c := startDevice(t, v5, nil)
	for topic, payload := range map[string]string{
		"v1/devices/me/rpc/request/x": `{"method":"m"}`, "v1/devices/me/rpc/request/1": `{"params":{}}`, "v2/r/req/1": `nonsense`,
	} {
		c.publish(1, topic, payload)
		c.expectReason(packets.Puback, 0x99)
	}
}

// TestM68NoAnswer: without a rule chain that answers, the device hears so after the time-out.
func TestM68NoAnswer(t *testing.T) {
	r := &rig{Rig: transporttest.Start(t, func(c *transport.Config) { c.RPCTimeout = 100 * time.Millisecond })}
	r.service, r.stop = serve(t, r.Transport, nil)
	t.Cleanup(r.stop)
	r.Core.AddDevice("T")
	c := login(t, r.service.Addr(), v5, "T")
	c.acknowledged("v1/devices/me/rpc/request/3", `{"method":"getTime"}`)
	c.expectMessage("v1/devices/me/rpc/response/3", `{"error":"timeout"}`, 1)
}

// TestM69SessionLimits: the transport answers by itself, on the long topic only.
func TestM69SessionLimits(t *testing.T) {
	text := func(s string) *string { return &s }
	rates := &sluicepb.RateLimits{
		Device:        &sluicepb.RateLimit{Messages: "10:1", TelemetryMessages: "20:1,300:60"},
		Gateway:       &sluicepb.RateLimit{TelemetryPoints: "7:1"},
		GatewayDevice: &sluicepb.RateLimit{Messages: "5:1"},
	}
	type limits struct {
		Messages, TelemetryMessages, TelemetryDataPoints *string
	}
	type answer struct {
		MaxPayloadSize, MaxInflightMessages int
		RateLimits, GatewayRateLimits       *limits
	}
	for _, row := range []struct {
		name    string
		gateway bool
		want    answer
	}{
		{"M69 device", false, answer{65536, 256, &limits{text("10:1"), text("20:1,300:60"), nil}, nil}},
		{"M70 gateway", true, answer{65536, 256, &limits{text("5:1"), nil, nil}, &limits{nil, nil, text("7:1")}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, _, c := startDevice(t, v5, func(d *transporttest.Device) { d.Gateway, d.Rates = row.gateway, rates })
			c.acknowledged("v1/devices/me/rpc/request/1", `{"method":"getSessionLimits","params":{"timeout":5000}}`)
			pk := c.expect(packets.Publish)
			var got answer
			if err := json.Unmarshal(pk.Payload, &got); err != nil || pk.TopicName != "v1/devices/me/rpc/response/1" {
				t.Fatalf("%s on %s: %v", pk.Payload, pk.TopicName, err)
			}
			have, _ := json.Marshal(got)
			want, _ := json.Marshal(row.want)
			if string(have) != string(want) {
				t.Errorf("%s, want %s", have, want)
			}
			c.acknowledged("v2/r/req/1", `{"method":"getSessionLimits"}`) // is the rule chain's to answer
			r.Call(t, 0)
		})
	}
}

// TestM71Claim: a claim is acknowledged once the bus has it.
func TestM71Claim(t *testing.T) {
	for _, row := range []struct {
		payload, secret string
		duration        int64
	}{{``, "", 0}, {`{"secretKey":"s","durationMs":60000}`, "s", 60000}, {`{"secretKey":"s"}`, "s", 0}} {
		r, _, c := startDevice(t, v5, nil)
		c.acknowledged("v1/devices/me/claim", row.payload)
		claim := r.Report(t, func(m *sluicepb.CoreMessage) bool { return m.GetClaim() != nil }).GetClaim()
		if claim.GetSecret() != row.secret || claim.GetDurationMs() != row.duration {
			t.Errorf("%s: claim %v", row.payload, claim)
		}
		c.publish(1, "v1/devices/me/claim", `[]`)
		c.expectReason(packets.Puback, 0x99)
	}
}
