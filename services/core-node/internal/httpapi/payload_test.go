package httpapi_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi"
	timed "github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

var sameValue = cmp.Comparer(func(a, b telemetry.Value) bool { return a == b })

// TestValues names the value cases of device-api §8.7 that REST shares with devices.
func TestValues(t *testing.T) {
	for _, c := range []struct {
		name, json string
		want       telemetry.Value
	}{
		{"V01", `1.0`, telemetry.OfDouble(1)},
		{"V02 whole", `1e2`, telemetry.OfLong(100)},
		{"V02 whole with a point", `1.5e1`, telemetry.OfLong(15)},
		{"V02 fraction", `101E-1`, telemetry.OfDouble(10.1)},
		{"V03", `9223372036854775807`, telemetry.OfLong(9223372036854775807)},
		{"V03 beyond", `9223372036854775808`, telemetry.OfString("9223372036854775808")},
		{"beyond by exponent", `1E19`, telemetry.OfString("10000000000000000000")},
		{"V04", `"42"`, telemetry.OfLong(42)},
		{"V04 double", `"4.0"`, telemetry.OfDouble(4)},
		{"V04 zeros", `"007"`, telemetry.OfLong(7)},
		{"V04 exponent", `"1e5"`, telemetry.OfString("1e5")},
		{"plus", `"+5"`, telemetry.OfString("+5")},
		{"blank", `" 12"`, telemetry.OfString(" 12")},
		{"point last", `"1."`, telemetry.OfString("1.")},
		{"point first", `".5"`, telemetry.OfDouble(0.5)},
		{"minus alone", `"-"`, telemetry.OfString("-")},
		{"empty", `""`, telemetry.OfString("")},
		{"not a boolean", `"true"`, telemetry.OfString("true")},
		{"V06 as a double", `0.30000000000000004`, telemetry.OfDouble(0.30000000000000004)},
		{"V08", `{"x": [1, {"y": 2}]}`, telemetry.OfJSON(`{"x":[1,{"y":2}]}`)},
		{"V09", `[1, 2]`, telemetry.OfJSON(`[1,2]`)},
		{"tiny", `1e-400`, telemetry.OfDouble(0)},
		{"tiny beyond reason", `1e-999999999`, telemetry.OfDouble(0)},
		{"nothing, however written", `0e999999999`, telemetry.OfLong(0)},
		{"negative", `-3`, telemetry.OfLong(-3)},
		{"true", `true`, telemetry.OfBool(true)},
		{"escapes", `"\u00e9\n"`, telemetry.OfString("é\n")},
	} {
		got, err := httpapi.ParseAttributes([]byte(`{"a":` + c.json + `}`))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff([]telemetry.KeyValue{{Key: "a", Value: c.want}}, got, sameValue); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestRecords(t *testing.T) {
	one := func(at int64, key string, n int64) timed.Timed {
		return timed.Timed{Time: at, Values: []telemetry.KeyValue{{Key: key, Value: telemetry.OfLong(n)}}}
	}
	for _, c := range []struct {
		name, json string
		want       []timed.Timed
	}{
		{"server time", `{"a":1}`, []timed.Timed{one(1000, "a", 1)}},
		{"V10", `{"a":1,"a":2}`, []timed.Timed{one(1000, "a", 2)}},
		{"V13", `{"ts":1,"t":5}`, []timed.Timed{{Time: 1000, Values: []telemetry.KeyValue{{Key: "ts", Value: telemetry.OfLong(1)}, {Key: "t", Value: telemetry.OfLong(5)}}}}},
		{"V14 text", `{"ts":"7","values":{"a":1}}`, []timed.Timed{one(7, "a", 1)}},
		{"V14 fraction", `{"ts":7.9,"values":{"a":1}}`, []timed.Timed{one(7, "a", 1)}},
		{"V15", `{"ts":-5,"values":{"a":1}}`, []timed.Timed{one(-5, "a", 1)}},
		{"V16", `{"values":{"a":1},"metadata":{},"ts":7}`, []timed.Timed{one(7, "a", 1)}},
		{"array", `[{"a":1}, {"ts":7,"values":{"b":2}}, {}]`, []timed.Timed{one(1000, "a", 1), one(7, "b", 2)}},
	} {
		got, err := httpapi.ParseTelemetry([]byte(c.json), 1000)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(c.want, got, sameValue); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// FuzzTelemetry: whatever the bytes, there are values, or a refusal of kind Invalid.
func FuzzTelemetry(f *testing.F) {
	for _, seed := range []string{
		`{"a":1}`, `[{"ts":1,"values":{"a":"x"}}]`, `{"ts":1e3,"values":{"a":{"b":[null]}}}`, `{"a":1e400}`, `{"a":0e9999999999}`,
		`[`, `[]`, `{"a":null}`, `{"a":1}{`, "{\"a\":\"\xff\"}", `{"ts":"x","values":{}}`, `{"a":1.00000000000000000001e20}`, `{"\ud800":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		records, err := httpapi.ParseTelemetry(slices.Clone(body), 1000)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		for _, r := range records {
			for _, kv := range r.Values {
				if kv.Key == "" || kv.Kind == telemetry.None {
					t.Fatalf("%q became %+v", body, r)
				}
			}
		}
		if len(records) == 0 {
			t.Fatalf("%q became nothing", body)
		}
	})
}

func BenchmarkParseTelemetry(b *testing.B) {
	body := []byte(`{"ts":1700000000000,"values":{"temperature":21.5,"humidity":40,"ok":true}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := httpapi.ParseTelemetry(body, 1000); err != nil {
			b.Fatal(err)
		}
	}
}
