package gateway

import (
	"bytes"
	"errors"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// said is an entry in text.
type said struct{ Name, Value string }

func texts(entries []entry) []said {
	var out []said
	for _, e := range entries {
		value := string(e.value)
		if e.broken {
			value = "broken"
		}
		out = append(out, said{string(e.name), value})
	}
	return out
}

func TestSplitsTelemetry(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       []said
		err        error
	}{
		{"two devices", `{"A":[{"t":1}],"B":[{"h":2},{"h":3}]}`, []said{{"A", `[{"t":1}]`}, {"B", `[{"h":2},{"h":3}]`}}, nil},
		{"space everywhere", " {\t\"A\" :\n [ ] } ", []said{{"A", `[ ]`}}, nil},
		{"brackets and quotes in texts", `{"A":[{"t":"]}\"\\"}],"B":[]}`, []said{{"A", `[{"t":"]}\"\\"}]`}, {"B", `[]`}}, nil},
		{"a name with escapes", `{"\u0041\"\n":[]}`, []said{{"A\"\n", `[]`}}, nil},
		{"a name beyond ASCII", `{"Zähler":[]}`, []said{{"Zähler", `[]`}}, nil},
		{"a name twice holds twice, in order", `{"A":[1],"B":[2],"A":[3]}`, []said{{"A", "[1]"}, {"B", "[2]"}, {"A", "[3]"}}, nil},
		{"other values are left out", `{"A":{"t":1},"B":[5],"C":"x","D":1e3,"E":null}`, []said{{"B", `[5]`}}, nil},
		{"nothing left", `{"A":{"t":1}}`, nil, errUnusable},
		{"no device", `{}`, nil, errUnusable},
		{"an array", `[1]`, nil, errUnusable},
		{"an empty name", `{"":[1]}`, nil, errUnusable},
		{"nothing", ``, nil, errMalformed},
		{"no JSON", `telemetry`, nil, errMalformed},
		{"no end", `{"A":[{"t":1}]`, nil, errMalformed},
		{"text without end", `{"A":[{"t":"\"}]}`, nil, errMalformed},
		{"brackets that do not match", `{"A":[{"t":1]}]}`, nil, errMalformed},
		{"more after the end", `{"A":[]} x`, nil, errMalformed},
		{"no comma", `{"A":[] "B":[]}`, nil, errMalformed},
		{"a comma too many", `{"A":[],}`, nil, errMalformed},
		{"no colon", `{"A"[]}`, nil, errMalformed},
		{"no value", `{"A":}`, nil, errMalformed},
		{"a wrong value among those left out", `{"A":tru,"B":[]}`, nil, errMalformed},
		{"a name that is no UTF-8", "{\"\xff\":[]}", nil, errMalformed},
		{"a control character in a name", "{\"\n\":[]}", nil, errMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s splitter
			for range 2 { // reused
				entries, err := s.telemetry([]byte(c.data))
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

func TestSplitsObjects(t *testing.T) {
	var s splitter
	entries, err := s.objects([]byte(`{"A":{"k":1},"B":[1],"C":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]said{{"A", `{"k":1}`}, {"C", `{}`}}, texts(entries)); diff != "" {
		t.Error(diff)
	}
}

func TestTakesMetadataOut(t *testing.T) {
	const good = `{"connector":"modbus","receivedTs":10,"publishedTs":30}`
	for _, c := range []struct {
		name, data string
		want       []said
		found      []metadata
	}{
		{
			"of a timed and a plain element", `{"A":[{"ts":1,"values":{"t":1},"metadata":` + good + `},{"t":2, "metadata" : ` + good + `}]}`,
			[]said{{"A", `[{"ts":1,"values":{"t":1},"metadata":null},{"t":2, "metadata" : null}]`}},
			[]metadata{{"modbus", 10, 30}, {"modbus", 10, 30}},
		},
		{"written with an escape", `{"A":[{"\u006detadata":` + good + `}]}`, []said{{"A", `[{"\u006detadata":null}]`}}, []metadata{{"modbus", 10, 30}}},
		{"not deeper", `{"A":[{"t":{"metadata":1}}]}`, []said{{"A", `[{"t":{"metadata":1}}]`}}, nil},
		{"not a value", `{"A":[{"t":"metadata"}]}`, []said{{"A", `[{"t":"metadata"}]`}}, nil},
		{
			"one that lacks a member is that device's fault", `{"A":[{"t":1,"metadata":{"connector":"c","receivedTs":1}}],"B":[{"t":1}]}`,
			[]said{{"A", "broken"}, {"B", `[{"t":1}]`}},
			nil,
		},
		{"one that is no object", `{"A":[{"metadata":5}]}`, []said{{"A", "broken"}}, nil},
		{"one with a text for a time", `{"A":[{"metadata":{"connector":"c","receivedTs":"1","publishedTs":2}}]}`, []said{{"A", "broken"}}, nil},
		{"nothing of a broken array counts", `{"A":[{"metadata":` + good + `},{"t":}]}`, []said{{"A", "broken"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s splitter
			for range 2 {
				entries, err := s.telemetry([]byte(c.data))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, texts(entries)); diff != "" {
					t.Error(diff)
				}
				found := append([]metadata(nil), s.rewrite.found...)
				if diff := cmp.Diff(c.found, found, cmp.AllowUnexported(metadata{})); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// FuzzSplit holds the splitter against a JSON decoder that reads all of it.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{
		`{"A":[{"ts":1,"values":{"t":1}},{"t":2}],"C":[{"h":3}]}`, `{"A":{"t":1},"B":[{"t":1}]}`, `{"A":[5]}`, `{}`, `[]`, ``, `{"":[]}`,
		`{"A":[{"t":1,"metadata":{"connector":"c","receivedTs":1,"publishedTs":2}}]}`, `{"\u0041":[{"\u006detadata":1}]}`, `{"A":["\\\""]}`,
		`{"A":[{"t":1]}]}`, `[{"":0,"":0}] `, "{\"\xff\":[]}", `{"A":tru}`, `{"A":[{,"metadata":{"connector":"c","receivedTs":1,"publishedTs":2}}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s splitter
		entries, err := s.telemetry(data)
		valid := jsontext.Value(data).IsValid(jsontext.AllowDuplicateNames(true))
		if err == nil && len(entries) == 0 {
			t.Fatal("neither entries nor an error")
		}
		if valid {
			if errors.Is(err, errMalformed) {
				t.Fatalf("valid JSON was refused: %q", data)
			}
			if err == nil {
				compare(t, data, entries)
			}
			return
		}
		if errors.Is(err, errUnusable) && bytes.Contains(data, []byte(`""`)) {
			return // it was not read to its end
		}
		// What is not JSON is found out at once, or in what is said of one device.
		for _, e := range entries {
			if e.broken || !jsontext.Value(e.value).IsValid(jsontext.AllowDuplicateNames(true)) {
				return
			}
		}
		if err == nil {
			t.Fatalf("%q was taken for JSON", data)
		}
	})
}

// compare reads data by the decoder, and expects the same arrays.
func compare(t *testing.T, data []byte, entries []entry) {
	d := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true))
	if _, err := d.ReadToken(); err != nil {
		t.Fatal(err)
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			t.Fatal(err)
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			t.Fatal(err)
		}
		if value.Kind() != '[' {
			continue
		}
		if len(entries) == 0 || string(entries[0].name) != key {
			t.Fatalf("%q: the entry of %q is missing", data, key)
		}
		if e := entries[0]; !e.broken && !mentionsMetadata(data) && string(e.value) != string(value) {
			t.Fatalf("%q: %q, want %q", data, e.value, value)
		}
		entries = entries[1:]
	}
	if len(entries) > 0 {
		t.Fatalf("%q: more entries than arrays", data)
	}
}

func BenchmarkSplit(b *testing.B) {
	data := readings(64)
	var s splitter
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.telemetry(data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/reading")
}

// readings has one reading each of that many devices.
func readings(devices int) []byte {
	data := []byte{'{'}
	for i := range devices {
		if i > 0 {
			data = append(data, ',')
		}
		data = append(data, `"Meter `...)
		data = append(data, byte('0'+i/100), byte('0'+i/10%10), byte('0'+i%10))
		data = append(data, `":[{"ts":1764190000000,"values":{"temperature":21.5,"humidity":40,"state":"on"}}]`...)
	}
	return append(data, '}')
}
