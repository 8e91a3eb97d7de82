package engine

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/dop251/goja"

	"github.com/sluice-iot/sluice/proto/script"
)

var (
	parameters = []string{"msg", "metadata", "msgType"}
	limits     = Limits{ResultChars: 300_000, Depth: 2000}
	meter      = []string{
		`{"temperature":21.5,"humidity":40,"pressure":1013.2,"voltage":3.3}`, `{"deviceName":"Meter 1","deviceType":"meter","ts":"1700000000000"}`, "POST_TELEMETRY_REQUEST",
	}
)

// Our reading of JSON is the engine's, but where the engine's is wrong.
func TestJSONIsReadAsTheEngineDoes(t *testing.T) {
	for _, text := range []string{
		`{"a":1,"b":[1,2.5,-3e2,true,false,null],"c":{"d":"e\n\u00e9\ud83d\ude00😀"}}`, `[]`, `{}`, ` [ 1 , 2 ] `, `""`, `"\""`, `0`, `-0`, `123456789012345678`, `1e-7`,
		`{"2":1,"1":2,"a":3,"a":4}`, `{"__proto__":{"a":1}}`, ``, `[`, `[1,]`, `{"a"}`, `{"a":}`, `{a:1}`, `01`, `-`, `1.`, `.5`, `1e`, `+1`, `"`, `"\x"`, `"\u12"`, "\"\n\"", `tru`, `nul`, `truee`, `[1 2]`, `{"a":1 "b":2}`, `NaN`,
	} {
		r := goja.New()
		ours, ourErr := parseJSON(r, text)
		theirs, theirErr := r.RunString("JSON.parse(" + quote(t, text) + ")")
		if (ourErr == nil) != (theirErr == nil) {
			t.Errorf("%s: %v, the engine %v", text, ourErr, theirErr)
			continue
		}
		if ourErr != nil {
			if !strings.Contains(ourErr.Error(), "JSON") {
				t.Errorf("%s: %v does not say what it is about", text, ourErr)
			}
			continue
		}
		a, errA := json.Marshal(ours)
		b, errB := json.Marshal(theirs)
		if string(a) != string(b) || errA != nil || errB != nil {
			t.Errorf("%s: %s, the engine %s", text, a, b)
		}
	}
}

func quote(t testing.TB, text string) string {
	t.Helper()
	b, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// FuzzJSON: whatever a text is, we read it or not as the standard library does.
func FuzzJSON(f *testing.F) {
	for _, text := range []string{`{"a":[1,2.5,"x\n"]}`, `"\ud800"`, `-0.0e+1`, `[[[]]]`, `{"a":1,}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := parseJSON(goja.New(), text)
		if valid := json.Valid([]byte(text)); valid != (err == nil) {
			t.Errorf("%q: valid %v, %v", text, valid, err)
		}
	})
}

// FuzzCompile: a body that compiles stays inside its function, whatever it is.
func FuzzCompile(f *testing.F) {
	for _, body := range []string{
		"return 1", "}); escaped = 1; (function(){", "}/*", "*/}", "return 1 //", "`${", "})\n(function(){", "<!--", "'use strict'", "return /}/", "}}{{", "return function(){}}{", "\u2028}", "return 1}), escaped = 1, (function(){",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		p, fault := Compile(parameters, body)
		if fault != nil {
			if fault.Outcome != script.Compilation || !strings.HasPrefix(fault.Text, "SyntaxError") {
				t.Errorf("%q: %+v", body, fault)
			}
			return
		}
		r := goja.New()
		before := len(r.GlobalObject().Keys())
		made, err := r.RunProgram(p.compiled)
		if err != nil {
			t.Fatalf("%q: making the function runs something: %v", body, err)
		}
		if _, ok := goja.AssertFunction(made); !ok || len(r.GlobalObject().Keys()) != before {
			t.Errorf("%q: is no function, or ran", body)
		}
	})
}

func BenchmarkFilter(b *testing.B) { benchmark(b, "return msg.temperature > 20;") }

func BenchmarkTransform(b *testing.B) {
	benchmark(b, "metadata.x = msg.temperature*2; msg.y = 1; return {msg: msg, metadata: metadata, msgType: msgType};")
}

func benchmark(b *testing.B, body string) {
	p, fault := Compile(parameters, body)
	if fault != nil {
		b.Fatal(fault.Text)
	}
	e := New(limits)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, fault := e.Run(p, meter); fault != nil {
			b.Fatal(fault.Text)
		}
	}
}
