package payload

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

var fuzzSeeds = []string{
	`{}`, `[]`, `{"t":21.5,"on":true,"n":5,"s":"x","j":{"a":[1]}}`, `{"ts":1000,"values":{"t":1}}`,
	`[{"ts":1000,"values":{"t":1}},{"t":2}]`, `{"values":{"a":1},"ts":"7"}`, `{"a":"\ud83d\ude00\u00e9\n"}`,
	`{"a":1e400,"b":-0.5e-3}`, `{"a":9223372036854775808}`, `{"":1,"<b>":2,"{{x}}":3}`, `hello world`, `{"a":[[[[[[]]]]]]}`,
	` { "a" : [ 1 , " \" " ] } `, `{"a":null,"a":1,"a":null}`, `{"ts":1e13,"values":{"k":"007"}}`,
}

// FuzzTelemetry holds the decoder against the standard library's: what it takes is valid JSON,
// and valid JSON of the right form that it refuses, it refuses for a rule of its own.
func FuzzTelemetry(f *testing.F) {
	for _, seed := range fuzzSeeds {
		f.Add([]byte(seed))
	}
	d := NewDecoder(Options{MaxDepth: 8, MaxValues: 100, MaxText: 1000})
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		records, err := d.Telemetry(data)
		if !bytes.Equal(before, data) {
			t.Fatal("the payload was changed")
		}
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%v is of kind %v", err, fault.KindOf(err))
			}
			return
		}
		if !json.Valid(data) {
			t.Fatalf("took %q", data)
		}
		for _, r := range records {
			checkRecord(t, r)
		}
	})
}

func checkRecord(t *testing.T, r telemetry.Record) {
	t.Helper()
	if len(r.Values) == 0 || !r.OwnTime && r.Time != 0 {
		t.Fatalf("record %+v", r)
	}
	keys := map[string]bool{}
	for _, kv := range r.Values {
		if kv.Key == "" || keys[kv.Key] || kv.Kind == telemetry.None {
			t.Fatalf("value %+v of %+v", kv, r.Values)
		}
		keys[kv.Key] = true
		if kv.Kind == telemetry.JSON {
			var compact bytes.Buffer
			if err := json.Compact(&compact, []byte(kv.Text())); err != nil || compact.String() != kv.Text() {
				t.Fatalf("nested value %q is not compact JSON (%v)", kv.Text(), err)
			}
		}
	}
	if !json.Valid(AppendValues(nil, r.Values)) {
		t.Fatalf("%+v is not written as JSON", r.Values)
	}
}

// FuzzAttributes holds what comes out against encoding/json: the same keys, but for those that
// are null or cannot be stored.
func FuzzAttributes(f *testing.F) {
	for _, seed := range fuzzSeeds {
		f.Add([]byte(seed))
	}
	d := NewDecoder(Options{MaxDepth: 8, MaxValues: 100})
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := d.Attributes(data)
		if err != nil {
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(data, &members); err != nil {
			t.Fatalf("took %q: %v", data, err)
		}
		for _, kv := range values {
			if _, found := members[kv.Key]; !found {
				t.Fatalf("%q has no member %q", data, kv.Key)
			}
			delete(members, kv.Key)
		}
		for key, value := range members {
			if _, storable := check(key); storable && string(value) != "null" {
				t.Fatalf("%q: member %q is lost", data, key)
			}
		}
	})
}
