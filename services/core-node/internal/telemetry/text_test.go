package telemetry_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

func TestParseObject(t *testing.T) {
	for text, want := range map[string]values.Value{
		`{"k":true}`:                values.OfBool(true),
		`{"k":42}`:                  values.OfLong(42),
		`{"k":-0.5}`:                values.OfDouble(-0.5),
		`{"k":1e3}`:                 values.OfDouble(1000),
		`{"k":9223372036854775808}`: values.OfDouble(9223372036854775808),
		`{"k":1e999}`:               values.OfString("1e999"),
		`{"k":"text"}`:              values.OfString("text"),
		`{"k":"12.5"}`:              values.OfDouble(12.5),
		`{"k":"7"}`:                 values.OfLong(7),
		`{"k":" 7"}`:                values.OfString(" 7"),
		`{"k":"0x7"}`:               values.OfString("0x7"),
		`{"k":{"a": [1, 2 ]}}`:      values.OfJSON(`{"a":[1,2]}`),
		"{\"k\":\"\\u00e9\\n\"}":    values.OfString("é\n"),
	} {
		got, err := telemetry.ParseObject(text)
		if err != nil || len(got) != 1 || got[0].Value != want {
			t.Errorf("%s reads as %v, %v", text, got, err)
		}
	}
	for _, text := range []string{``, `7`, `[]`, `{`, `{"k":}`, `{"k":null}`, `{"k":1}x`, `{"k":1,}`, `{"k":"a}`, `{"k":NaN}`, `{"k":1} {}`} {
		if got, err := telemetry.ParseObject(text); !errors.Is(err, telemetry.ErrNotObject) {
			t.Errorf("%q reads as %v, %v", text, got, err)
		}
	}
}

func TestParseRecords(t *testing.T) {
	one := func(n int64) []values.KeyValue { return []values.KeyValue{{Key: "a", Value: values.OfLong(n)}} }
	for text, want := range map[string][]telemetry.Timed{
		`{"a":1}`:                   {{Time: 5, Values: one(1)}},
		`{"ts":7,"values":{"a":1}}`: {{Time: 7, Values: one(1)}},
		` [{"a":1},{"ts":7,"values":{"a":2}},{}]`: {{Time: 5, Values: one(1)}, {Time: 7, Values: one(2)}},
		`{"ts":7}`: {{Time: 5, Values: []values.KeyValue{{Key: "ts", Value: values.OfLong(7)}}}},
		`{}`:       nil,
		`[]`:       nil,
	} {
		got, err := telemetry.ParseRecords(text, 5)
		if diff := cmp.Diff(want, got, exact); diff != "" || err != nil {
			t.Errorf("%s: %v %s", text, err, diff)
		}
	}
	for _, text := range []string{`[7]`, `[`, `{"ts":7,"values":3}`, `[{"a":null}]`} {
		if got, err := telemetry.ParseRecords(text, 5); !errors.Is(err, telemetry.ErrNotObject) {
			t.Errorf("%q reads as %v, %v", text, got, err)
		}
	}
}

// FuzzParseObject holds what is read to what is written: any object read and written again is the same.
func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{`{"a":1,"b":"x","c":{"d":[true,null]},"e":-1.5e3,"f":"1.0"}`, `{"a":"\ud83d\ude00\u2028"}`, `[1]`, `{"a":`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		kvs, err := telemetry.ParseObject(text)
		if err != nil {
			return
		}
		written := telemetry.AppendObject(nil, kvs)
		if !json.Valid(written) {
			t.Fatalf("%q is written as %q", text, written)
		}
		again, err := telemetry.ParseObject(string(written))
		if err != nil {
			t.Fatalf("%q cannot be read again: %v", written, err)
		}
		for i := range again {
			if again[i].Kind != kvs[i].Kind && kvs[i].Kind != values.Double && kvs[i].Kind != values.String {
				t.Errorf("%s was %v, reads again as %v", kvs[i].Key, kvs[i].Value, again[i].Value)
			}
		}
	})
}
