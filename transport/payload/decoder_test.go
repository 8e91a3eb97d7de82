package payload

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

var defaults = Options{MaxDepth: 32, MaxValues: 20000}

func long(key string, n int64) telemetry.KeyValue {
	return telemetry.KeyValue{Key: key, Value: telemetry.OfLong(n)}
}

func double(key string, f float64) telemetry.KeyValue {
	return telemetry.KeyValue{Key: key, Value: telemetry.OfDouble(f)}
}

func text(key, s string) telemetry.KeyValue {
	return telemetry.KeyValue{Key: key, Value: telemetry.OfString(s)}
}

func boolean(key string, b bool) telemetry.KeyValue {
	return telemetry.KeyValue{Key: key, Value: telemetry.OfBool(b)}
}

func nested(key, s string) telemetry.KeyValue {
	return telemetry.KeyValue{Key: key, Value: telemetry.OfJSON(s)}
}

// own is a record with a time of its own, late one without.
func own(ms int64, values ...telemetry.KeyValue) telemetry.Record {
	return telemetry.Record{Time: ms, OwnTime: true, Values: values}
}

func late(values ...telemetry.KeyValue) telemetry.Record { return telemetry.Record{Values: values} }

var byValue = cmp.Comparer(func(a, b telemetry.Value) bool { return a == b })

// TestValueCases are the acceptance cases V01–V18 of the device API's values.
func TestValueCases(t *testing.T) {
	keep := defaults
	keep.KeepNumericStrings = true
	for _, c := range []struct {
		id, payload string
		options     Options
		want        []telemetry.Record // nil: refused
	}{
		{"V01", `{"a":1.0}`, defaults, []telemetry.Record{late(double("a", 1))}},
		{"V02", `{"a":1e2}`, defaults, []telemetry.Record{late(long("a", 100))}},
		{"V02", `{"a":101E-1}`, defaults, []telemetry.Record{late(double("a", 10.1))}},
		{"V03", `{"a":9223372036854775807}`, defaults, []telemetry.Record{late(long("a", 9223372036854775807))}},
		{"V03", `{"a":9223372036854775808}`, defaults, []telemetry.Record{late(text("a", "9223372036854775808"))}},
		{"V04", `{"a":"42"}`, defaults, []telemetry.Record{late(long("a", 42))}},
		{"V04", `{"a":"4.0"}`, defaults, []telemetry.Record{late(double("a", 4))}},
		{"V04", `{"a":"007"}`, defaults, []telemetry.Record{late(long("a", 7))}},
		{"V04", `{"a":"1e5"}`, defaults, []telemetry.Record{late(text("a", "1e5"))}},
		{"V05", `{"a":"42"}`, keep, []telemetry.Record{late(text("a", "42"))}},
		{"V05", `{"a":1E19}`, keep, nil},
		{"V06", `{"a":0.30000000000000004}`, defaults, []telemetry.Record{late(double("a", 0.30000000000000004))}},
		{"V07", `{"a":null,"b":1}`, defaults, []telemetry.Record{late(long("b", 1))}},
		{"V08", `{"a":{"x":[1,{"y":2}]}}`, defaults, []telemetry.Record{late(nested("a", `{"x":[1,{"y":2}]}`))}},
		{"V09", `{"a":[1,2]}`, defaults, []telemetry.Record{late(nested("a", `[1,2]`))}},
		{"V10", `{"a":1,"a":2}`, defaults, []telemetry.Record{late(long("a", 2))}},
		{"V11", `{"` + strings.Repeat("k", 256) + `":1}`, defaults, []telemetry.Record{}},
		{"V11", `{"` + strings.Repeat("k", 255) + `":1}`, defaults, []telemetry.Record{late(long(strings.Repeat("k", 255), 1))}},
		{"V12", `{"<script>":1,"{{x}}":2,"c":3}`, defaults, []telemetry.Record{late(long("c", 3))}},
		{"V13", `{"ts":1,"t":5}`, defaults, []telemetry.Record{late(long("ts", 1), long("t", 5))}},
		{"V14", `{"ts":"1000","values":{"a":1}}`, defaults, []telemetry.Record{own(1000, long("a", 1))}},
		{"V14", `{"ts":1000.9,"values":{"a":1}}`, defaults, []telemetry.Record{own(1000, long("a", 1))}},
		{"V15", `{"ts":-5,"values":{"a":1}}`, defaults, []telemetry.Record{own(-5, long("a", 1))}},
		{"V16", `{"ts":1000,"values":{"a":1},"metadata":{}}`, defaults, []telemetry.Record{own(1000, long("a", 1))}},
		{"V17", `{"a":1E400}`, defaults, nil},
		{"V18", `{"":1}`, defaults, []telemetry.Record{}},
	} {
		t.Run(c.id, func(t *testing.T) { expectTelemetry(t, c.options, c.payload, c.want) })
	}
}

func expectTelemetry(t *testing.T, o Options, payload string, want []telemetry.Record) {
	t.Helper()
	got, err := NewDecoder(o).Telemetry([]byte(payload))
	switch {
	case want == nil && err == nil:
		t.Errorf("%s was taken: %+v", payload, got)
	case want == nil && fault.KindOf(err) != fault.Invalid:
		t.Errorf("%s: %v is of kind %v", payload, err, fault.KindOf(err))
	case want != nil && err != nil:
		t.Errorf("%s: %v", payload, err)
	case want != nil && len(want)+len(got) > 0:
		if diff := cmp.Diff(want, got, byValue); diff != "" {
			t.Errorf("%s (-want +got):\n%s", payload, diff)
		}
	}
}

func TestNumbers(t *testing.T) {
	for number, want := range map[string]telemetry.Value{
		"0":                      telemetry.OfLong(0),
		"-0":                     telemetry.OfLong(0),
		"-9223372036854775808":   telemetry.OfLong(-9223372036854775808),
		"-9223372036854775809":   telemetry.OfString("-9223372036854775809"),
		"42.00":                  telemetry.OfDouble(42),
		"-0.5":                   telemetry.OfDouble(-0.5),
		"1.5e1":                  telemetry.OfLong(15),
		"1.50e1":                 telemetry.OfLong(15),
		"0.005E+3":               telemetry.OfLong(5),
		"1500e-2":                telemetry.OfLong(15),
		"-2e3":                   telemetry.OfLong(-2000),
		"1e-7":                   telemetry.OfDouble(1e-7),
		"1.2345678E-12":          telemetry.OfDouble(1.2345678e-12),
		"0e99999999999999":       telemetry.OfLong(0),
		"1e-99999999999999999":   telemetry.OfDouble(0),
		"1E19":                   telemetry.OfString("10000000000000000000"),
		"-1.5e20":                telemetry.OfString("-150000000000000000000"),
		"12345678901234567.5":    telemetry.OfDouble(12345678901234567.5),
		"1e308":                  telemetry.OfString("1" + strings.Repeat("0", 308)),
		"10000000.0":             telemetry.OfDouble(1e7),
		`"-.5"`:                  telemetry.OfDouble(-0.5),
		`".5"`:                   telemetry.OfDouble(0.5),
		`"-12"`:                  telemetry.OfLong(-12),
		`"1."`:                   telemetry.OfString("1."),
		`"."`:                    telemetry.OfString("."),
		`"-"`:                    telemetry.OfString("-"),
		`"--1"`:                  telemetry.OfString("--1"),
		`"1-1"`:                  telemetry.OfString("1-1"),
		`"1.2.3"`:                telemetry.OfString("1.2.3"),
		`"+5"`:                   telemetry.OfString("+5"),
		`" 12"`:                  telemetry.OfString(" 12"),
		`""`:                     telemetry.OfString(""),
		`"true"`:                 telemetry.OfString("true"),
		`"89014103211118510720"`: telemetry.OfString("89014103211118510720"),
	} {
		expectTelemetry(t, defaults, `{"a":`+number+`}`, []telemetry.Record{late(telemetry.KeyValue{Key: "a", Value: want})})
	}
}

func TestRefusedPayloads(t *testing.T) {
	small := Options{MaxDepth: 3, MaxValues: 4, MaxText: 5}
	for payload, why := range map[string]string{
		``:                          "payload ends at byte 0: an object or an array of objects is expected",
		` `:                         "an object or an array",
		`hello world`:               "payload at byte 0: an object or an array",
		`5`:                         "an object or an array",
		`[5]`:                       "payload at byte 1: an object is expected",
		`[{}`:                       "',' or ']' is expected",
		`[{},]`:                     "an object is expected",
		`{`:                         "payload ends at byte 1: a member's name",
		`{"a"}`:                     "':' is expected",
		`{"a":}`:                    "payload at byte 5: a value is expected",
		`{"a":1,}`:                  "a member's name",
		`{"a":1 "b":2}`:             "',' or '}' is expected",
		`{"a":1}}`:                  "payload at byte 7: the payload goes on",
		`{'a':1}`:                   "a member's name",
		`{a:1}`:                     "a member's name",
		`{"a":01}`:                  "a number that JSON does not have",
		`{"a":+1}`:                  "a value is expected",
		`{"a":-}`:                   "a number that JSON does not have",
		`{"a":1.}`:                  "a number that JSON does not have",
		`{"a":.5}`:                  "a value is expected",
		`{"a":1e}`:                  "a number that JSON does not have",
		`{"a":NaN}`:                 "a value is expected",
		`{"a":tru}`:                 "a value is expected",
		`{"a":nul`:                  "a value is expected",
		`{"a":"x}`:                  "without its closing quote",
		`{"a":"\n` + "\n" + `"}`:    "a control character",
		`{"a":"` + "\t" + `"}`:      "a control character",
		`{"a":"\x"}`:                "an escape that JSON does not have",
		`{"a":"\u12"}`:              "an escape that JSON does not have",
		`{"a":"\ud800"}`:            "an escape that JSON does not have",
		`{"a":"\ud800\u0041"}`:      "an escape that JSON does not have",
		`{"a":"` + "\xff" + `"}`:    "not UTF-8",
		`{"a":"\n` + "\xff" + `"}`:  "not UTF-8",
		`{"a":"\`:                   "an escape that JSON does not have",
		`{"a":[1,]}`:                "a value is expected",
		`{"a":[1 2]}`:               "',' or ']' is expected",
		`{"a":[[]]}`:                "",
		`{"a":[[[]]]}`:              "nested deeper than 3",
		`{"a":1,"b":2,"c":3,"d":4}`: "more than 4 values",
		`[{},{},{},{},{}]`:          "more than 4 values",
		`{"a":"123456"}`:            "text longer than 5 bytes",
		`{"ts":1000,"values":5}`:    `"values" must be an object`,
		`{"values":[],"ts":1000}`:   `"values" must be an object`,
		`{"ts":"abc","values":{}}`:  `payload at byte 6: "ts" must be a time`,
		`{"ts":true,"values":{}}`:   `"ts" must be a time`,
		`{"ts":null,"values":{}}`:   `"ts" must be a time`,
		`{"ts":{},"values":{}}`:     `"ts" must be a time`,
		`{"ts":"1.5","values":{}}`:  `"ts" must be a time`,
		`{"ts":99999999999999999999,"values":{}}`: `"ts" must be a time`,
		`{"ts":1.5e300,"values":{}}`:              `"ts" must be a time`,
		`{"a":1e999999999999999999999}`:           "payload at byte 5: a number that is too large",
		"\ufeff{}":                                "an object or an array",
	} {
		_, err := NewDecoder(small).Telemetry([]byte(payload))
		if why == "" {
			if err != nil {
				t.Errorf("%s: %v", payload, err)
			}
			continue
		}
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fmt.Sprint(err), why) {
			t.Errorf("%s: %v (%v), want …%s…", payload, err, fault.KindOf(err), why)
		}
	}
}

func TestTelemetryForms(t *testing.T) {
	for payload, want := range map[string][]telemetry.Record{
		`{}`:                                     {},
		`[]`:                                     {},
		` [ ] `:                                  {},
		`{"ts":1,"values":{}}`:                   {},
		`{"a":null}`:                             {},
		`[{"ts":1000,"values":{"t":1}},{"t":2}]`: {own(1000, long("t", 1)), late(long("t", 2))},
		`[{},{"t":2},{"a":null}]`:                {late(long("t", 2))},
		`{"values":{"a":1},"ts":7}`:              {own(7, long("a", 1))},
		`{"x":1,"ts":7,"y":2,"values":{"a":1},"z":"<"}`:                    {own(7, long("a", 1))},
		`{"ts":1,"values":{"a":1},"ts":2,"values":{"b":2}}`:                {own(2, long("b", 2))},
		`{"values":{"a":1},"ts":2,"values":{"b":2}}`:                       {own(2, long("b", 2))},
		`{"values":{"a":1}}`:                                               {late(nested("values", `{"a":1}`))},
		`{"ts":1,"values":{"ts":2,"values":3}}`:                            {own(1, long("ts", 2), long("values", 3))},
		`{"a":1,"b":2,"a":null}`:                                           {late(long("b", 2))},
		`{"a":null,"a":3}`:                                                 {late(long("a", 3))},
		"\t{ \"a\" : { \"x\" : [ 1 , \" \\\" \" ] } ,\r\n\"b\":false } \n": {late(nested("a", `{"x":[1," \" "]}`), boolean("b", false))},
		`{"\u00e9\ud83d\ude00":"\"\\\/\b\f\n\r\t"}`:                        {late(text("é😀", "\"\\/\b\f\n\r\t"))},
		`{"grün":"münchen","n":{"ü":"\u00fc"}}`:                            {late(text("grün", "münchen"), nested("n", `{"ü":"\u00fc"}`))},
		`{"a":{},"b":[],"c":[null,true,-1.5e3]}`:                           {late(nested("a", `{}`), nested("b", `[]`), nested("c", `[null,true,-1.5e3]`))},
		`{"ts":1.6347122870E12,"values":{"a":1}}`:                          {own(1634712287000, long("a", 1))},
	} {
		expectTelemetry(t, defaults, payload, want)
	}
}

func TestAttributes(t *testing.T) {
	d := NewDecoder(defaults)
	got, err := d.Attributes([]byte(`{"fw":"1.0x","n":null,"ts":5,"values":{"a":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []telemetry.KeyValue{text("fw", "1.0x"), long("ts", 5), nested("values", `{"a":1}`)}
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Errorf("M44 (-want +got):\n%s", diff)
	}
	for _, payload := range []string{`[{"a":1}]`, ``, `5`, `{"a":1}x`, `{"a":`} {
		if _, err := d.Attributes([]byte(payload)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("M45: %q: %v", payload, err)
		}
	}
}

func TestDroppedKeysAreCountedByReason(t *testing.T) {
	d := NewDecoder(defaults)
	_, err := d.Telemetry([]byte(`[{"":1," ":2,"` + strings.Repeat("ü", 256) + `":3,"<b>":4,"</b>":5,"a<b":6,"a< b":7,"{{x":8,"a{{x}}":9,"a\u0000":10},{"ts":1,"values":{"":1},"<i>":2}]`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.Dropped(), (Dropped{KeyBlank: 3, KeyTooLong: 1, KeyUnsafe: 5}); got != want {
		t.Errorf("dropped %v, want %v", got, want)
	}
	if _, err := d.Attributes([]byte(`{"<x>":1}`)); err != nil || d.Dropped() != (Dropped{KeyUnsafe: 1}) {
		t.Errorf("attributes dropped %v (%v)", d.Dropped(), err)
	}
	if _, err := d.Attributes([]byte(`{"😀` + strings.Repeat("x", 254) + `":1,"😀` + strings.Repeat("x", 253) + `":1}`)); err != nil || d.Dropped() != (Dropped{KeyTooLong: 1}) {
		t.Errorf("keys are measured in UTF-16 units: dropped %v (%v)", d.Dropped(), err)
	}
}

// Many keys go by a map instead of one by one; the result must not show it.
func TestManyKeys(t *testing.T) {
	d := NewDecoder(defaults)
	for range 3 {
		var payload strings.Builder
		for i := range 100 {
			fmt.Fprintf(&payload, `,"k%d":%d`, i%40, i)
		}
		records, err := d.Telemetry([]byte("{" + payload.String()[1:] + "}"))
		if err != nil {
			t.Fatal(err)
		}
		if len(records) != 1 || len(records[0].Values) != 40 {
			t.Fatalf("%d records, first %+v", len(records), records)
		}
		for i, kv := range records[0].Values {
			last := int64(i + 40)
			if i < 20 {
				last = int64(i + 80)
			}
			if kv != long(fmt.Sprintf("k%d", i), last) {
				t.Errorf("value %d is %+v", i, kv)
			}
		}
		if _, err := d.Telemetry([]byte(`{"k1":1}`)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDecoderIsReusable(t *testing.T) {
	d := NewDecoder(defaults)
	for i := range 5 {
		size := 1 + i%2*2000
		payload := "[" + strings.Repeat(`{"a":1,"b":"\n"},`, size) + `{"c":[ 1 ]}]`
		records, err := d.Telemetry([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		if len(records) != size+1 || records[0].Values[1] != text("b", "\n") || records[size].Values[0] != nested("c", "[1]") {
			t.Fatalf("round %d: %d records", i, len(records))
		}
	}
}
