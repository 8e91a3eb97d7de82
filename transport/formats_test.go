package transport_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/devicepb"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/schema"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

const (
	readingSchema    = `syntax = "proto3"; message Old {} message Reading { int64 ts = 1; Values values = 2; message Values { double t = 1; int64 n = 2; string s = 3; } }`
	attributesSchema = `syntax = "proto3"; message A { string fw = 1; int64 n = 2; }`
)

// message encodes JSON as a message of a schema.
func message(t *testing.T, text, object string) []byte {
	t.Helper()
	s, err := schema.Compile(text)
	if err != nil {
		t.Fatal(err)
	}
	data, err := s.AppendMessage(nil, []byte(object))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// speaking starts a rig with a device of token T whose profile is o.
func speaking(t *testing.T, o *sluicepb.ProfileOptions) (*transporttest.Rig, *transporttest.Device, *transport.Device) {
	t.Helper()
	r := transporttest.Start(t, nil)
	device := r.Core.AddDevice("T")
	r.Core.Change(func() { device.Options = o })
	return r, device, authenticate(t, r, token("T"))
}

func TestM57ProtobufPayloads(t *testing.T) {
	options := &sluicepb.ProfileOptions{Protobuf: true, TelemetrySchema: readingSchema, AttributesSchema: attributesSchema}
	lenient := proto.Clone(options).(*sluicepb.ProfileOptions)
	lenient.JsonToo = true
	reading := message(t, readingSchema, `{"ts":1000,"values":{"t":21,"s":"x"}}`)
	for name, c := range map[string]struct {
		options *sluicepb.ProfileOptions
		format  transport.Format
		payload []byte
		taken   bool
	}{
		"a message":                        {options, transport.ByProfile, reading, true},
		"a message, asked for":             {options, transport.Protobuf, reading, true},
		"a message where JSON is said":     {options, transport.JSON, reading, false},
		"JSON":                             {options, transport.ByProfile, []byte(`{"t":1}`), false},
		"JSON, asked for":                  {options, transport.JSON, []byte(`{"t":1}`), true},
		"JSON, for compatibility":          {lenient, transport.ByProfile, []byte(`{"t":1}`), true},
		"JSON where protobuf is asked for": {lenient, transport.Protobuf, []byte(`{"t":1}`), false},
		"a message, leniently":             {lenient, transport.ByProfile, reading, true},
		"neither":                          {lenient, transport.ByProfile, []byte("\x0a"), false},
		"a message to a JSON profile":      {nil, transport.Protobuf, reading, false},
		"no schema":                        {&sluicepb.ProfileOptions{Protobuf: true}, transport.ByProfile, reading, false},
		"a wrong schema":                   {&sluicepb.ProfileOptions{Protobuf: true, TelemetrySchema: "nope"}, transport.ByProfile, reading, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, d := speaking(t, c.options)
			told := make(chan error, 1)
			err := r.Transport.PublishTelemetry(d, transport.Origin{Transport: "MQTT", Format: c.format}, c.payload, func(err error) { told <- err })
			if !c.taken {
				if fault.KindOf(err) != fault.Invalid {
					t.Errorf("refused with %v", err)
				}
				return
			}
			if err != nil || <-told != nil {
				t.Fatal(err)
			}
			got := r.Uplinks(t, 1)[0].Telemetry
			want := []telemetry.Record{{Time: 1000, OwnTime: true, Values: []telemetry.KeyValue{
				{Key: "t", Value: telemetry.OfDouble(21)}, {Key: "n", Value: telemetry.OfLong(0)}, {Key: "s", Value: telemetry.OfString("x")},
			}}}
			if string(c.payload) == string(reading) {
				if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b telemetry.Value) bool { return a == b })); diff != "" {
					t.Errorf("stored (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestProtobufAttributesAndRequests(t *testing.T) {
	r, _, d := speaking(t, &sluicepb.ProfileOptions{Protobuf: true, AttributesSchema: attributesSchema, JsonToo: true})
	told := make(chan error, 9)
	done := func(err error) { told <- err }
	if err := r.Transport.PublishAttributes(d, overHTTP, message(t, attributesSchema, `{"fw":"1.0x","n":5}`), done); err != nil || <-told != nil {
		t.Fatal(err)
	}
	if got := r.Uplinks(t, 1)[0].Attributes; len(got) != 2 || got[0].Text() != "1.0x" || got[1].Long() != 5 {
		t.Errorf("attributes %v", got)
	}
	encode := func(m proto.Message) []byte {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if err := r.Transport.Claim(d, overHTTP, encode(&devicepb.Claim{SecretKey: "s", DurationMs: 5}), done); err != nil || <-told != nil {
		t.Fatal(err)
	}
	r.Report(t, func(m *sluicepb.CoreMessage) bool {
		return m.GetClaim().GetSecret() == "s" && m.GetClaim().GetDurationMs() == 5
	})
	for i, request := range [][]byte{encode(&devicepb.RpcRequest{Method: "m", Params: `{"a":1}`}), []byte(`{"method":"m","params":{"a":1}}`)} {
		if err := r.Transport.CallRPC(t.Context(), d, 1, overHTTP, request, done, func(string) {}); err != nil || <-told != nil {
			t.Fatal(err)
		}
		if got := string(r.Call(t, i).GetData()); got != `{"method":"m","params":{"a":1}}` {
			t.Errorf("the chain is given %s", got)
		}
	}
	reply := message(t, `syntax = "proto3"; message R { string payload = 1; }`, `{"payload":"{\"ok\":1}"}`)
	if err := r.Transport.ReplyRPC(d, 4, overHTTP, reply, done); err != nil || <-told != nil {
		t.Fatal(err)
	}
	r.Report(t, func(m *sluicepb.CoreMessage) bool { return m.GetRpcReply().GetPayload() == `{"payload":"{\"ok\":1}"}` })
	if err := r.Transport.CallRPC(t.Context(), d, 1, overHTTP, encode(&devicepb.RpcRequest{Method: "m", Params: `{`}), done, func(string) {}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("params that are no JSON: %v", err)
	}
}

func TestRequestsAreMessagesOfTheProfile(t *testing.T) {
	request := transport.RPCRequest{ID: 7, Method: "setGpio", Params: `{"pin":"23","value":1}`}
	text := `syntax = "proto3"; message Req { string method = 1; int32 requestId = 2; Params params = 3; message Params { string pin = 1; int32 value = 2; } }`
	for schemaText, want := range map[string]string{
		"":   `{"method":"setGpio","requestId":7,"params":"{\"pin\":\"23\",\"value\":1}"}`,
		text: `{"method":"setGpio","requestId":7,"params":{"pin":"23","value":1}}`,
	} {
		r, _, d := speaking(t, &sluicepb.ProfileOptions{Protobuf: true, RpcRequestSchema: schemaText})
		data, err := r.Transport.EncodeRPC(d, request)
		if err != nil {
			t.Fatal(err)
		}
		if schemaText == "" {
			schemaText = `syntax = "proto3"; message R { string method = 1; int32 requestId = 2; string params = 3; }`
		}
		s, err := schema.Compile(schemaText)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.AppendJSON(nil, data, schema.Bounds{Values: 100, Bytes: 1000}); err != nil || string(got) != want {
			t.Errorf("%s %v, want %s", got, err, want)
		}
		if _, err := r.Transport.EncodeRPC(d, transport.RPCRequest{Method: "m", Params: `nope`}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("params that are no JSON: %v", err)
		}
	}
}

func TestASchemaIsRenewedWithItsProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		device := r.Core.AddDevice("T")
		r.Core.Change(func() { device.Options = &sluicepb.ProfileOptions{Protobuf: true, TelemetrySchema: readingSchema} })
		synctest.Wait()
		d := authenticate(t, r, token("T"))
		open(t, r, d)
		other := `syntax = "proto3"; message R { string only = 9; }`
		payload := message(t, other, `{"only":"new"}`)
		r.Core.Change(func() { device.Options = &sluicepb.ProfileOptions{Protobuf: true, TelemetrySchema: other} })
		r.Changed(t, device, false, false)
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		told := make(chan error, 1)
		if err := r.Transport.PublishTelemetry(d, overHTTP, payload, func(err error) { told <- err }); err != nil || <-told != nil {
			t.Fatal(err)
		}
		if got := r.Uplinks(t, 1)[0].Telemetry[0].Values; len(got) != 1 || got[0].Text() != "new" {
			t.Errorf("stored %v", got)
		}
		large := message(t, other, `{"only":"`+strings.Repeat("x", 300<<10)+`"}`)
		if err := r.Transport.PublishTelemetry(d, overHTTP, large, func(error) {}); !errors.Is(err, transport.ErrTooLarge) {
			t.Errorf("a large message: %v", err)
		}
	})
}
