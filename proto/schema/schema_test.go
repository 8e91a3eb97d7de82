package schema

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/devicepb"
)

var wide = Bounds{Values: 1000, Bytes: 1 << 20}

func compile(t testing.TB, text string) *Schema {
	t.Helper()
	s, err := Compile(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// decoded is JSON text as values, so that the order of members does not count.
func decoded(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// TestAgainstGeneratedCode reads a file of ours as profiles' texts are read, and compares with the generated code.
func TestAgainstGeneratedCode(t *testing.T) {
	file, err := os.ReadFile("../../proto/device_payload.proto")
	if err != nil {
		t.Fatal(err)
	}
	number := int32(-7)
	for name, m := range map[string]proto.Message{
		"Telemetry": &devicepb.Telemetry{Records: []*devicepb.TelemetryRecord{{Ts: 1 << 60, Values: []*devicepb.KeyValue{
			{Key: "a", LongV: math.MinInt64, Type: devicepb.ValueType_JSON_V}, {Key: "ü\n\"", DoubleV: 1e30, BoolV: true}, {Type: 77},
		}}, {}}},
		"ProvisionRequest": &devicepb.ProvisionRequest{DeviceName: "n", Gateway: true, Credentials: &devicepb.ProvisionCredentials{
			Basic: &devicepb.ProvisionCredentials_Basic{ClientId: "c"},
		}},
		"ServerRpcRequest": &devicepb.ServerRpcRequest{RequestId: -1, Retries: &number, RequestIdLsb: math.MaxInt64},
		"AttributesUpdate": &devicepb.AttributesUpdate{Deleted: []string{"x", ""}, Updated: []*devicepb.TimedKeyValue{{Ts: 5, Version: proto.Int64(0)}}},
		"GatewayClaims":    &devicepb.GatewayClaims{},
	} {
		s := compile(t, string(file)+" message Root { "+name+" m = 1; }")
		s.root = s.root.fields[0].message
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.AppendJSON(nil, data, wide)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(decoded(t, want), decoded(t, got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		again, err := s.AppendMessage(nil, got)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		back := m.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(again, back); err != nil || !proto.Equal(m, back) {
			t.Errorf("%s: %v back from JSON, %v", name, back, err)
		}
	}
}

func TestTheLastMessageIsMeant(t *testing.T) {
	s := compile(t, `syntax = "proto3"; // the first line
		package org.example;
		option java_package = "x";
		message First { int32 a = 1; }
		/* a comment; message No {} */
		message Reading {
		  reserved 5, 9 to 11; reserved "old";
		  enum Mode { option allow_alias = true; OFF = 0; ON = 1 [deprecated = true]; AN = 1; reserved 4; }
		  message Inner { sint32 s = 1; bytes b = 2; First f = 3; .org.example.First g = 4; org.example.Reading.Mode h = 5; }
		  int64 ts = 1;
		  oneof which { string text = 2; Inner inner = 3; bool yes = 4; }
		  repeated uint32 many = 6 [packed = false];
		  map<int32, Inner> by_number = 7;
		  map<string, double> by_name = 8;
		  optional float maybe = 12;
		  Mode mode = 13 [json_name = "@mode"];
		  fixed64 big_number = 14;
		}
		enum After { NONE = 0; }`)
	encoded, err := s.AppendMessage(nil, []byte(`{"ts":1000,"inner":{"s":-3,"b":"AAE=","f":{"a":"7"}},"many":[1,4294967295],
		"byNumber":{"-5":{"h":"ON"}},"by_name":{"x":1},"@mode":1,"unknown":[{}],"big_number":"18446744073709551615"}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.AppendJSON(nil, encoded, wide)
	want := `{"ts":"1000","inner":{"s":-3,"b":"AAE=","f":{"a":7},"h":"OFF"},"many":[1,4294967295],"byNumber":{"-5":{"s":0,"b":"","h":"ON"}},` +
		`"byName":{"x":1.0},"@mode":"ON","bigNumber":"18446744073709551615"}`
	if err != nil || string(got) != want {
		t.Errorf("%s %v, want\n%s", got, err, want)
	}
	got, err = s.AppendJSON(nil, nil, wide)
	want = `{"ts":"0","many":[],"byNumber":{},"byName":{},"@mode":"OFF","bigNumber":"0"}`
	if err != nil || string(got) != want {
		t.Errorf("the empty message: %s %v, want\n%s", got, err, want)
	}
}

// TestPartsOfAMessage: what protobuf says of messages that come in pieces.
func TestPartsOfAMessage(t *testing.T) {
	s := compile(t, `syntax = "proto3"; message A { A in = 1; oneof o { int32 x = 2; A y = 3; } repeated sint64 n = 4; double d = 5; }`)
	tag := protowire.AppendTag
	packed := protowire.AppendBytes(tag(nil, 4, protowire.BytesType), []byte{1, 2})
	single := protowire.AppendVarint(tag(nil, 4, protowire.VarintType), 3)
	inner := func(n protowire.Number, m []byte) []byte {
		return protowire.AppendBytes(tag(nil, n, protowire.BytesType), m)
	}
	x := protowire.AppendVarint(tag(nil, 2, protowire.VarintType), 9)
	unknown := protowire.AppendFixed32(tag(nil, 99, protowire.Fixed32Type), 1)
	for want, parts := range map[string][][]byte{
		`{"n":["-1","1","-2"],"d":0.0}`:                       {packed, unknown, single},
		`{"in":{"n":["-2","-1","1"],"d":0.0},"n":[],"d":0.0}`: {inner(1, single), inner(1, packed)},
		`{"x":9,"n":[],"d":0.0}`:                              {inner(3, single), x},
		`{"y":{"n":[],"d":0.0},"n":[],"d":0.0}`:               {inner(3, single), x, inner(3, nil)},
		`{"n":[],"d":"NaN"}`:                                  {protowire.AppendFixed64(tag(nil, 5, protowire.Fixed64Type), math.Float64bits(math.NaN()))},
		`{"n":[],"d":100000000000000000000000.0}`:             {protowire.AppendFixed64(tag(nil, 5, protowire.Fixed64Type), math.Float64bits(1e23))},
		`{"in":{"x":9,"n":[],"d":0.0},"n":[],"d":0.0}`:        {inner(1, x), protowire.AppendVarint(tag(nil, 1, protowire.VarintType), 5)},
	} {
		var data []byte
		for _, part := range parts {
			data = append(data, part...)
		}
		if got, err := s.AppendJSON(nil, data, wide); err != nil || string(got) != want {
			t.Errorf("%x: %s %v, want %s", data, got, err, want)
		}
	}
}

func TestWrongMessagesAreRefused(t *testing.T) {
	s := compile(t, `syntax = "proto3"; message A { A in = 1; string s = 2; repeated bool b = 3; map<string, A> m = 4; }`)
	deep := []byte{}
	for range maxDepth + 1 {
		deep = protowire.AppendBytes([]byte{1<<3 | 2}, deep)
	}
	for name, data := range map[string][]byte{
		"JSON": []byte(`{"s":"x"}`), "cut short": {1<<3 | 2, 5, 0}, "no tag": {0}, "not UTF-8": {2<<3 | 2, 1, 0xff}, "deep": deep,
		"many values": append([]byte{3<<3 | 2, 0xe9, 0x07}, make([]byte, 1001)...), "a bad number": append([]byte{3<<3 | 2, 11}, []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")...),
	} {
		if got, err := s.AppendJSON(nil, data, wide); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %s %v", name, got, err)
		}
	}
	large := protowire.AppendString([]byte{2<<3 | 2}, strings.Repeat("\x01", 1000)) // six times as large as JSON
	if _, err := s.AppendJSON(nil, large, Bounds{Values: 10, Bytes: 2000}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("larger than it may become: %v", err)
	}
	for _, text := range []string{`[]`, `{"in":5}`, `{"b":true}`, `{"b":["x"]}`, `{"m":[]}`, `{"m":{"k":1}}`, `{`, `nope`} {
		if got, err := s.AppendMessage(nil, []byte(text)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %x %v", text, got, err)
		}
	}
	numbers := compile(t, `syntax = "proto3"; message A { int32 i = 1; uint32 u = 2; uint64 w = 3; bytes y = 4; double d = 5; }`)
	for _, text := range []string{`{"i":2147483648}`, `{"u":-1}`, `{"w":-1}`, `{"i":1.5}`, `{"y":"?"}`, `{"d":"x"}`, `{"i":true}`, `{"i":"ON"}`} {
		if got, err := numbers.AppendMessage(nil, []byte(text)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %x %v", text, got, err)
		}
	}
}

func TestWrongTextsAreRefused(t *testing.T) {
	nested := strings.Repeat("message A { ", maxDepth+1) + strings.Repeat("}", maxDepth+1)
	for text, reason := range map[string]string{
		``: "syntax", `message A {}`: "syntax", `syntax = "proto2"; message A {}`: "proto3", `syntax = "proto3";`: "no message",
		`syntax = "proto3"; import "google/protobuf/any.proto"; message A {}`: "import",
		`syntax = "proto3"; service S {} message A {}`:                        "service",
		`syntax = "proto3"; extend A { int32 b = 1; } message A {}`:           "extend",
		`syntax = "proto3"; message A { required int32 b = 1; }`:              "required",
		`syntax = "proto3"; message A { int32 b = 0; }`:                       "number 0",
		`syntax = "proto3"; message A { int32 b = 19000; }`:                   "number 19000",
		`syntax = "proto3"; message A { int32 b = 1; int32 c = 1; }`:          "two fields",
		`syntax = "proto3"; message A { int32 a_b = 1; int32 aB = 2; }`:       "two fields",
		`syntax = "proto3"; message A { B b = 1; }`:                           "no type called B",
		`syntax = "proto3"; message A {} message A {}`:                        "two types",
		`syntax = "proto3"; message A { map<float, A> m = 1; }`:               "keys of type float",
		`syntax = "proto3"; message A { enum E { X = 1; } }`:                  "begin with 0",
		`syntax = "proto3"; message A { enum E { } }`:                         "no values",
		`syntax = "proto3"; message A { int32 b = 1`:                          `";" is expected`,
		`syntax = "proto3"; message A { int32 b = 1 [ }`:                      "expected",
		"syntax = \"proto3\";\n\nmessage A { /* ":                             "line 3",
		`syntax = "proto3"; message ` + strings.Repeat("a", 256) + ` {}`:      "name",
		`syntax = "proto3"; ` + nested:                                        "nested deeper",
		strings.Repeat(" ", MaxText+1):                                        "longer than",
	} {
		if _, err := Compile(text); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), reason) {
			t.Errorf("%.80s: %v, want a word of %q", text, err, reason)
		}
	}
}

// TestWhatServesNoPurposeIsRefused: of each purpose what only just serves, and what does not.
func TestWhatServesNoPurposeIsRefused(t *testing.T) {
	for _, test := range []struct {
		purpose      Purpose
		text, reason string
	}{
		{ForTelemetry, `message A { int32 a = 1; }`, ""},
		{ForTelemetry, `message A {}`, "no fields"},
		{ForTelemetry, `message A { bool ts = 1; }`, ""},
		{ForTelemetry, `message A { bool ts = 1; B values = 2; } message B { A a = 1; }`, ""},
		{ForTelemetry, `message A { message B { int32 a = 1; } double ts = 1; B values = 2; }`, ""},
		{ForTelemetry, `message A { message B { int32 a = 1; } bytes ts = 1; B values = 2; }`, "a field ts"},
		{ForTelemetry, `message A { message B { int32 a = 1; } B ts = 1; B values = 2; }`, "a field ts"},
		{ForTelemetry, `message A { message B { int32 a = 1; } int64 ts = 1; repeated B values = 2; }`, "a field values beside ts"},
		{ForTelemetry, `message A { int64 ts = 1; int32 values = 2 [json_name = "v"]; }`, ""},
		{ForTelemetry, `message A { int64 t = 1 [json_name = "ts"]; int32 values = 2; }`, "a field values beside ts"},
		{ForAttributes, `message A { int64 ts = 1; int32 values = 2; }`, ""},
		{ForAttributes, `message A {}`, "no fields"},
		{ForRequests, `message A { string method = 1; int32 requestId = 2; string params = 3; }`, ""},
		{ForRequests, `message A { string m = 1 [json_name = "method"]; sint64 request_id = 2; repeated int32 params = 3; }`, ""},
		{ForRequests, `message A { repeated string method = 1; int32 requestId = 2; string params = 3; }`, "method"},
		{ForRequests, `message A { string method = 1; E requestId = 2; string params = 3; enum E { X = 0; } }`, "requestId"},
		{ForRequests, `message A { string method = 1; double requestId = 2; string params = 3; }`, "requestId"},
		{ForReplies, `message A {}`, ""},
		{ForReplies, ``, "no message"},
	} {
		err := Check(`syntax = "proto3"; `+test.text, test.purpose)
		if test.reason == "" && err != nil || test.reason != "" && (fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.reason)) {
			t.Errorf("%d of %s: %v, want %q", test.purpose, test.text, err, test.reason)
		}
	}
}

// TestTheWorstTextsAreCheap: what is made to cost as much as the bounds allow.
func TestTheWorstTextsAreCheap(t *testing.T) {
	long := strings.Repeat("x", 240)
	scopes, ends := "", ""
	for i := range maxDepth - 1 {
		scopes, ends = scopes+"message "+string(rune('a'+i))+long+" { ", ends+"} "
	}
	fields := func(typeName string, room int) string {
		var out strings.Builder
		for i := 1; out.Len() < room; i++ {
			fmt.Fprintf(&out, "%s a%d=%d;", typeName, i, i)
		}
		return out.String()
	}
	for name, text := range map[string]string{
		"unknown types in deep scopes": scopes + "message Z {" + fields("Nowhere", MaxText-len(scopes)-len(ends)-40) + "}" + ends,
		"brackets":                     "option x = " + strings.Repeat("{", MaxText-60),
		"dots":                         "message A { " + strings.Repeat("a.", (MaxText-60)/2) + " b = 1; }",
		"semicolons":                   strings.Repeat(";", MaxText-60),
	} {
		started := time.Now()
		if _, err := Compile(`syntax = "proto3"; ` + text); err == nil {
			t.Errorf("%s: compiled", name)
		}
		if took := time.Since(started); took > 5*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`syntax = "proto3"; message A { A in = 1; oneof o { string s = 2; } map<int32, E> m = 4; enum E { X = 0; } repeated double d = 5 [packed=true]; }`, []byte{1<<3 | 2, 2, 5<<3 | 1, 0})
	f.Add(`syntax = "proto3"; package a.b; message M { optional bytes b = 15; reserved 1; } message N { .a.b.M m = 1 [json_name="x"]; }`, []byte{10, 2, 0x7a, 0})
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		s, err := Compile(text)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%v", err)
			}
			return
		}
		for purpose := ForTelemetry; purpose <= ForReplies; purpose++ {
			if err := Check(text, purpose); err != nil && fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%v", err)
			}
		}
		out, err := s.AppendJSON(nil, data, wide)
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("no JSON: %s", out)
		}
		if len(out) > wide.Bytes+1<<16 {
			t.Fatalf("%d bytes of JSON", len(out))
		}
		// A field that is a text in the schema takes what it gave.
		if _, err := s.AppendMessage(nil, out); err != nil && fault.KindOf(err) != fault.Invalid {
			t.Fatalf("%v", err)
		}
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	s := compile(b, `syntax = "proto3"; message R { int64 ts = 1; V values = 2; message V { double temperature = 1; double humidity = 2; string status = 3; int64 uptime = 4; } }`)
	data, err := s.AppendMessage(nil, []byte(`{"ts":1634712287000,"values":{"temperature":21.57,"humidity":48.2,"status":"operational","uptime":8734523}}`))
	if err != nil {
		b.Fatal(err)
	}
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		if buffer, err = s.AppendJSON(buffer[:0], data, wide); err != nil {
			b.Fatal(err)
		}
	}
}
