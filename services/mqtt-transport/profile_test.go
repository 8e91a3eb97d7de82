package mqtttransport

import (
	"bytes"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/gen/devicepb"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// startProfile starts a service and a client of a device whose profile says o.
func startProfile(t *testing.T, version byte, o *sluicepb.ProfileOptions) (*rig, *transporttest.Device, *client) {
	t.Helper()
	return startDevice(t, version, func(d *transporttest.Device) { d.Options = o })
}

// TestM12OtherTransport: a device whose profile is for another protocol is not served.
func TestM12OtherTransport(t *testing.T) {
	r := start(t, nil)
	d := r.Core.AddDevice("T")
	for kind, codes := range map[string][2]byte{"COAP": {3, 0x88}, "LWM2M": {3, 0x88}, "MQTT": {0, 0}, "DEFAULT": {0, 0}} {
		r.Core.Change(func() { d.TransportType = kind })
		r.Changed(t, d, false, true)
		for i, version := range []byte{v311, v5} {
			if code := dial(t, r.service.Addr(), version).connect(hello("", "T", "-")); code != codes[i] {
				t.Errorf("%s: CONNACK %#x, want %#x", kind, code, codes[i])
			}
		}
	}
}

// TestM38AcknowledgeInvalid: a profile may ask that a malformed payload be acknowledged where nothing else can be said.
func TestM38AcknowledgeInvalid(t *testing.T) {
	o := &sluicepb.ProfileOptions{AcknowledgeInvalid: true}
	r, _, c := startProfile(t, v311, o)
	for topic, payload := range map[string]string{
		telemetryTopic: `hello world`, attributeTopic: `[{"a":1}]`, "v1/devices/me/attributes/request/x": `{}`,
		"v1/devices/me/rpc/request/1": `nonsense`, "v1/devices/me/claim": `5`,
	} {
		c.acknowledged(topic, payload)
	}
	c.alive()
	c.publish(0, telemetryTopic, `hello world`)
	c.expectClosed()
	modern := login(t, r.service.Addr(), v5, "T")
	modern.publish(1, telemetryTopic, `hello world`)
	modern.expectReason(packets.Puback, 0x99)
	modern.alive()
	r.Uplinks(t, 0)
}

// TestM56OwnTopics: a profile's names replace the standard ones, as the profile is when a message comes.
func TestM56OwnTopics(t *testing.T) {
	r, d, c := startProfile(t, v5, &sluicepb.ProfileOptions{
		TelemetryTopic: "sensors/+/data", AttributesTopic: "sensors/state", AttributesSubscribeTopic: "sensors/config",
	})
	c.acknowledged("sensors/a/data", `{"t":1}`)
	c.acknowledged("sensors/state", `{"fw":"1"}`)
	c.acknowledged("v2/t", `{"t":2}`)
	for _, topic := range []string{telemetryTopic, attributeTopic} {
		c.publish(1, topic, `{"t":3}`)
		c.expectReason(packets.Puback, 0x90)
	}
	uplinks := r.Uplinks(t, 3)
	if uplinks[0].Topic != "sensors/a/data" || len(uplinks[1].Attributes) != 1 || uplinks[2].Topic != "v2/t" {
		t.Errorf("uplinks on %s, %s, %s", uplinks[0].Topic, uplinks[1].Topic, uplinks[2].Topic)
	}
	if codes := c.subscribe(1, "sensors/config", "sensors/+"); !bytes.Equal(codes, []byte{1, 0x8f}) {
		t.Errorf("granted %v", codes)
	}
	x := []telemetry.KeyValue{{Key: "x", Value: telemetry.OfLong(1)}}
	r.UpdateAttributes(t, d, x)
	c.expectMessage("sensors/config", `{"x":1}`, 1)
	if codes := c.unsubscribe("sensors/config"); !bytes.Equal(codes, []byte{0}) {
		t.Errorf("UNSUBACK %v", codes)
	}
	r.UpdateAttributes(t, d, x)
	c.expectNothing()
	// The profile changes while the client is connected.
	r.Core.Change(func() { d.Options = &sluicepb.ProfileOptions{TelemetryTopic: "other"} })
	r.Changed(t, d, false, false)
	for deadline := time.Now().Add(patience); ; {
		c.publish(1, "other", `{"t":4}`)
		if pk := c.expect(packets.Puback); pk.ReasonCode == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the profile's new topic is not known")
		}
	}
	c.publish(1, "sensors/a/data", `{"t":5}`)
	c.expectReason(packets.Puback, 0x90)
	c.acknowledged(attributeTopic, `{"fw":"2"}`)
}

const telemetrySchema = `syntax = "proto3"; message Reading { double t = 1; string name = 2; }`

// TestM57Protobuf: a profile with schemas takes messages of them, and JSON only when it says so.
func TestM57Protobuf(t *testing.T) {
	const reading = "\x09\x00\x00\x00\x00\x00\x00\xf8\x3f\x12\x01x" // t 1.5, name x
	for _, row := range []struct {
		name            string
		o               *sluicepb.ProfileOptions
		topic, payload  string
		stored, refused bool
	}{
		{"message", &sluicepb.ProfileOptions{Protobuf: true, TelemetrySchema: telemetrySchema}, telemetryTopic, reading, true, false},
		{"JSON", &sluicepb.ProfileOptions{Protobuf: true, TelemetrySchema: telemetrySchema}, telemetryTopic, `{"t":1.5,"name":"x"}`, false, true},
		{"JSON too", &sluicepb.ProfileOptions{Protobuf: true, TelemetrySchema: telemetrySchema, JsonToo: true}, telemetryTopic, `{"t":1.5,"name":"x"}`, true, false},
		{"JSON's topic", &sluicepb.ProfileOptions{Protobuf: true, TelemetrySchema: telemetrySchema}, "v2/t/j", `{"t":1.5,"name":"x"}`, true, false},
		{"protobuf's topic", &sluicepb.ProfileOptions{Protobuf: true, TelemetrySchema: telemetrySchema}, "v2/t/p", reading, true, false},
		{"no schema", nil, "v2/t/p", reading, false, true},
	} {
		t.Run("M57 "+row.name, func(t *testing.T) {
			r, _, c := startProfile(t, v5, row.o)
			c.publish(1, row.topic, row.payload)
			if row.refused {
				c.expectReason(packets.Puback, 0x99)
				r.Uplinks(t, 0)
				return
			}
			c.expectReason(packets.Puback, 0)
			values := r.Uplinks(t, 1)[0].Telemetry[0].Values
			if len(values) != 2 || !sameValue(values[0].Value, telemetry.OfDouble(1.5)) || !sameValue(values[1].Value, telemetry.OfString("x")) {
				t.Errorf("stored %v", values)
			}
		})
	}
}

// TestProtobufDownlinks: what goes to a device with schemas is a message too, unless its topic or its profile says otherwise.
func TestProtobufDownlinks(t *testing.T) {
	r, d, c := startProfile(t, v5, &sluicepb.ProfileOptions{Protobuf: true, TelemetrySchema: telemetrySchema})
	r.Core.Change(func() { d.Shared = []telemetry.KeyValue{{Key: "x", Value: telemetry.OfLong(3)}} })
	receive := func(topic string, into proto.Message) {
		t.Helper()
		pk := c.expect(packets.Publish)
		if err := proto.Unmarshal(pk.Payload, into); err != nil || pk.TopicName != topic {
			t.Errorf("% x on %s, want a message on %s: %v", pk.Payload, pk.TopicName, topic, err)
		}
		if pk.FixedHeader.Qos > 0 {
			c.acknowledge(pk)
		}
	}
	ask, err := proto.Marshal(&devicepb.AttributesRequest{SharedKeys: "x"})
	if err != nil {
		t.Fatal(err)
	}
	c.acknowledged("v1/devices/me/attributes/request/5", string(ask))
	var attributes devicepb.AttributesResponse
	receive("v1/devices/me/attributes/response/5", &attributes)
	if len(attributes.GetShared()) != 1 || attributes.GetShared()[0].GetKv().GetLongV() != 3 || attributes.GetRequestId() != 5 {
		t.Errorf("attributes %v", &attributes)
	}
	c.acknowledged("v2/a/req/j/5", `{"sharedKeys":"x"}`)
	c.expectMessage("v2/a/res/j/5", `{"shared":{"x":3}}`, 1)
	c.subscribe(1, "v2/a")
	r.UpdateAttributes(t, d, []telemetry.KeyValue{{Key: "x", Value: telemetry.OfLong(4)}}, "y")
	var update devicepb.AttributesUpdate
	receive("v2/a", &update)
	if len(update.GetUpdated()) != 1 || update.GetUpdated()[0].GetKv().GetLongV() != 4 || len(update.GetDeleted()) != 1 {
		t.Errorf("update %v", &update)
	}
	c.subscribe(1, rpcFilter)
	one, _ := request(9)
	one.Params = `"p"`
	r.SendRPC(t, d, one)
	if pk := c.expect(packets.Publish); pk.TopicName != "v1/devices/me/rpc/request/9" || !bytes.Equal(pk.Payload, []byte("\x0a\x01m\x10\x09\x1a\x01p")) {
		t.Errorf("request % x on %s", pk.Payload, pk.TopicName)
	}
	c.acknowledged("v1/devices/me/rpc/response/9", "\x0a\x02{}")
	if reply := r.awaitReply(t, 9); reply == "" {
		t.Error("the reply is empty")
	}
	call, err := proto.Marshal(&devicepb.RpcRequest{Method: "getTime", Params: `{"a":1}`})
	if err != nil {
		t.Fatal(err)
	}
	c.acknowledged("v2/r/req/p/2", string(call))
	made := r.Call(t, 0)
	if string(made.GetData()) != `{"method":"getTime","params":{"a":1}}` {
		t.Errorf("call %s", made.GetData())
	}
	r.AnswerCall(t, made, `{"time":1}`)
	var answer devicepb.RpcResponse
	receive("v2/r/res/p/2", &answer)
	if answer.GetPayload() != `{"time":1}` || answer.GetRequestId() != 2 {
		t.Errorf("answer %v", &answer)
	}
}

// TestJSONDownlinks: a profile may leave the standard topics' downlinks at JSON.
func TestJSONDownlinks(t *testing.T) {
	r, d, c := startProfile(t, v5, &sluicepb.ProfileOptions{Protobuf: true, JsonToo: true, JsonDownlinks: true})
	c.subscribe(1, attributeTopic)
	r.UpdateAttributes(t, d, []telemetry.KeyValue{{Key: "x", Value: telemetry.OfLong(4)}})
	c.expectMessage(attributeTopic, `{"x":4}`, 1)
	c.acknowledged("v1/devices/me/rpc/request/1", `{"method":"getSessionLimits"}`)
	if pk := c.expect(packets.Publish); !bytes.HasPrefix(pk.Payload, []byte(`{"maxPayloadSize"`)) {
		t.Errorf("limits %q", pk.Payload)
	}
}

// TestSharedClientID: devices are told apart by their credentials; the client id they share takes no session over.
func TestSharedClientID(t *testing.T) {
	r := start(t, nil)
	for _, version := range []byte{v311, v5} {
		for _, token := range []string{"A", "B"} {
			r.Core.AddDevice(token)
		}
		first := login(t, r.service.Addr(), version, "A") // both as "client"
		second := login(t, r.service.Addr(), version, "B")
		first.alive()
		second.alive()
	}
}
