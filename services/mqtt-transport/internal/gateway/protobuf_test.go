package gateway

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sluice-iot/sluice/proto/gen/devicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

func encoded(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func long(key string, n int64) *devicepb.KeyValue {
	return &devicepb.KeyValue{Key: key, Type: devicepb.ValueType_LONG_V, LongV: n}
}

// entryOf is an entry of GatewayTelemetry.
func entryOf(device string, records ...*devicepb.TelemetryRecord) *devicepb.GatewayTelemetry_Entry {
	return &devicepb.GatewayTelemetry_Entry{DeviceName: device, Telemetry: &devicepb.Telemetry{Records: records}}
}

func TestSplitsMessages(t *testing.T) {
	shared := &devicepb.GatewayAttributes{Entries: []*devicepb.GatewayAttributes_Entry{
		{DeviceName: "A", Attributes: &devicepb.Attributes{Values: []*devicepb.KeyValue{long("k", 1)}, Shared: true}},
		{DeviceName: "B", Attributes: &devicepb.Attributes{Values: []*devicepb.KeyValue{long("k", 1)}}},
	}}
	for _, c := range []struct {
		name   string
		action topic.Action
		data   []byte
		want   []said
		err    error
	}{
		{"telemetry", topic.GatewayTelemetry, encoded(t, &devicepb.GatewayTelemetry{Entries: []*devicepb.GatewayTelemetry_Entry{
			entryOf("A", &devicepb.TelemetryRecord{Ts: 1, Values: []*devicepb.KeyValue{long("t", 1)}}, &devicepb.TelemetryRecord{Values: []*devicepb.KeyValue{long("t", 2)}}),
			entryOf("C", &devicepb.TelemetryRecord{Values: []*devicepb.KeyValue{{Key: "j", Type: devicepb.ValueType_JSON_V, JsonV: `{"x":1}`}}}),
		}}), []said{{"A", `[{"ts":1,"values":{"t":1}},{"t":2}]`}, {"C", `[{"j":{"x":1}}]`}}, nil},
		{"one device's fault", topic.GatewayTelemetry, encoded(t, &devicepb.GatewayTelemetry{Entries: []*devicepb.GatewayTelemetry_Entry{
			entryOf("A", &devicepb.TelemetryRecord{Values: []*devicepb.KeyValue{long("", 1)}}),
			entryOf("B", &devicepb.TelemetryRecord{Values: []*devicepb.KeyValue{{Key: "j", Type: devicepb.ValueType_JSON_V, JsonV: "{"}}}),
			entryOf("C"),
			entryOf("D", &devicepb.TelemetryRecord{Values: []*devicepb.KeyValue{long("t", 1)}}),
		}}), []said{{"A", "broken"}, {"B", "broken"}, {"C", "broken"}, {"D", `[{"t":1}]`}}, nil},
		{"attributes, but shared ones", topic.GatewayAttributes, encoded(t, shared), []said{{"A", "broken"}, {"B", `{"k":1}`}}, nil},
		{"claims", topic.GatewayClaim, encoded(t, &devicepb.GatewayClaims{Entries: []*devicepb.GatewayClaims_Entry{
			{DeviceName: "A", Claim: &devicepb.Claim{SecretKey: "s", DurationMs: 5}}, {DeviceName: "B"},
		}}), []said{{"A", `{"secretKey":"s","durationMs":5}`}, {"B", `{"secretKey":"","durationMs":0}`}}, nil},
		{"nobody", topic.GatewayTelemetry, nil, nil, errUnusable},
		{"no name", topic.GatewayTelemetry, encoded(t, &devicepb.GatewayTelemetry{Entries: []*devicepb.GatewayTelemetry_Entry{entryOf("")}}), nil, errUnusable},
		{"no message", topic.GatewayTelemetry, []byte(`{"A":[{"t":1}]}`), nil, errMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s splitter
			for range 2 {
				entries, err := s.messages(c.data, c.action)
				if !errors.Is(err, c.err) {
					t.Fatalf("error %v, want %v", err, c.err)
				}
				if diff := cmp.Diff(c.want, texts(entries)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestProtobufGateway(t *testing.T) {
	start(t, func(_ *Bounds, p *Peer) { p.Protobuf = func() bool { return true } }, func(b *bench) {
		b.expect(b.take(topic.GatewayConnect, string(encoded(t, &devicepb.GatewayConnect{DeviceName: "A", DeviceType: "meter"}))), "accepted")
		b.expect(b.take(topic.GatewayReplyRPC, string(encoded(t, &devicepb.GatewayRpcReply{DeviceName: "A", Id: 5, Data: "x"}))), "accepted")
		b.expect(b.take(topic.GatewayConnect, `{"device":"A"}`), "malformed") // no JSON
		b.fake.shared = []telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(1)}}
		b.expect(b.take(topic.GatewayAttributeRequest, string(encoded(t, &devicepb.GatewayAttributesRequest{Id: 7, DeviceName: "A", Keys: []string{"k"}}))), "answered")
		b.at(func(f *fake) {
			if len(f.replies) != 1 || f.found[0] != "A:meter" {
				t.Errorf("replies %v, asked for %v", f.replies, f.found)
			}
		})
		down := b.fake.sessions["A"].downlinks
		down.AttributesUpdated(b.fake.shared, []string{"l"})
		request := ident.New()
		down.RPC(transport.RPCRequest{ID: 5, Method: "m", Params: "{}", Request: request})
		b.fake.limited["A"] = true
		b.take(topic.GatewayTelemetry, string(encoded(t, &devicepb.GatewayTelemetry{Entries: []*devicepb.GatewayTelemetry_Entry{
			entryOf("A", &devicepb.TelemetryRecord{Values: []*devicepb.KeyValue{long("t", 1)}}),
		}})))
		k := []*devicepb.TimedKeyValue{{Kv: long("k", 1)}}
		want := []proto.Message{
			&devicepb.GatewayAttributesResponse{DeviceName: "A", Response: &devicepb.AttributesResponse{RequestId: 7, Shared: k}},
			&devicepb.GatewayAttributesUpdate{DeviceName: "A", Update: &devicepb.AttributesUpdate{Updated: k}},
			&devicepb.GatewayAttributesUpdate{DeviceName: "A", Update: &devicepb.AttributesUpdate{Deleted: []string{"l"}}},
			&devicepb.GatewayRpcRequest{DeviceName: "A", Request: &devicepb.ServerRpcRequest{RequestId: 5, MethodName: "m", Params: "{}"}},
			&devicepb.GatewayDisconnect{DeviceName: "A", ReasonCode: 150},
		}
		topics := []string{topic.GatewayAttributeAnswer, topic.GatewayUpdates, topic.GatewayUpdates, topic.GatewayRPC, topic.GatewayNotice}
		if len(b.sent) != len(want) {
			t.Fatalf("%d messages, want %d", len(b.sent), len(want))
		}
		for i, m := range want {
			got := m.ProtoReflect().New().Interface()
			name := topics[i] + " "
			if err := proto.Unmarshal([]byte(b.sent[i][len(name):]), got); err != nil {
				t.Fatal(err)
			}
			ignored := protocmp.IgnoreFields(&devicepb.ServerRpcRequest{}, "request_id_msb", "request_id_lsb", "expiration_time")
			if diff := cmp.Diff(m, got, protocmp.Transform(), ignored); diff != "" || b.sent[i][:len(name)] != name {
				t.Errorf("message %d on %s: %s", i, b.sent[i][:len(name)], diff)
			}
		}
	})
}

// FuzzMessages: whatever a gateway sends as protobuf is refused or taken apart as the generated code reads it.
func FuzzMessages(f *testing.F) {
	f.Add([]byte{}, byte(0))
	for i, m := range []proto.Message{
		&devicepb.GatewayTelemetry{Entries: []*devicepb.GatewayTelemetry_Entry{entryOf("A", &devicepb.TelemetryRecord{Ts: 1, Values: []*devicepb.KeyValue{long("t", 1)}})}},
		&devicepb.GatewayAttributes{Entries: []*devicepb.GatewayAttributes_Entry{{DeviceName: "A"}}},
		&devicepb.GatewayClaims{Entries: []*devicepb.GatewayClaims_Entry{{DeviceName: "A"}}},
		&devicepb.GatewayConnect{DeviceName: "A", DeviceType: "b"}, &devicepb.GatewayRpcReply{DeviceName: "A", Id: 1, Data: "x"},
		&devicepb.GatewayAttributesRequest{Id: 1, DeviceName: "A", Keys: []string{"k"}},
	} {
		f.Add(encoded(f, m), byte(i))
	}
	actions := []topic.Action{
		topic.GatewayTelemetry, topic.GatewayAttributes, topic.GatewayClaim,
		topic.GatewayConnect, topic.GatewayReplyRPC, topic.GatewayAttributeRequest,
	}
	f.Fuzz(func(t *testing.T, data []byte, which byte) {
		action := actions[int(which)%len(actions)]
		if !slices.Contains(actions[:3], action) {
			if r, err := parseRequest(action, data, true); err == nil && r.device == "" {
				t.Fatal("a request about nobody")
			}
			return
		}
		var s splitter
		entries, err := s.messages(data, action)
		if (err == nil) != (len(entries) > 0) {
			t.Fatalf("%d entries and error %v", len(entries), err)
		}
		var whole devicepb.GatewayTelemetry
		if action == topic.GatewayTelemetry && err == nil && proto.Unmarshal(data, &whole) == nil {
			if len(whole.GetEntries()) != len(entries) {
				t.Fatalf("%d entries, the generated code reads %d", len(entries), len(whole.GetEntries()))
			}
			for i, e := range whole.GetEntries() {
				if e.GetDeviceName() != string(entries[i].name) {
					t.Fatalf("name %q, want %q", entries[i].name, e.GetDeviceName())
				}
			}
		}
	})
}

// FuzzRequests: whatever a gateway says of one device in JSON is refused, or names it.
func FuzzRequests(f *testing.F) {
	for _, seed := range []string{
		`{"device":"A","type":"b"}`, `{"device":""}`, `{"device":"A","id":5,"data":{"ok":true}}`, `{"id":1,"device":"A","client":true,"keys":["k","l"]}`,
		`{"id":1e99,"device":"A"}`, `[]`, `{"device":"A","device":"B"}`, `{"keys":null,"key":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, action := range []topic.Action{topic.GatewayConnect, topic.GatewayReplyRPC, topic.GatewayAttributeRequest} {
			r, err := parseRequest(action, data, false)
			switch {
			case err != nil && !errors.Is(err, errMalformed) && !errors.Is(err, errUnusable):
				t.Fatal(err)
			case err == nil && r.device == "":
				t.Fatal("a request about nobody")
			case err == nil && action == topic.GatewayAttributeRequest && r.query == nil:
				t.Fatal("no query")
			}
		}
	})
}
