package pattern_test

import (
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
)

func TestPlaceholdersAreFilled(t *testing.T) {
	metadata := map[string]string{"k": "v", "a.b": "dot", "inner": "$[n]", "self": "${k}", "quote": `"<&`, "n": "name"}
	for _, c := range []struct{ name, pattern, body, want string }{
		{"A30 of both", "$[a.b]-${k}", `{"a":{"b":7}}`, "7-v"},
		{"A30 missing", "$[a.c]-${x}-$[b]", `{"a":{"b":7}}`, "$[a.c]-${x}-$[b]"},
		{"no placeholder", "plain", `{}`, "plain"},
		{"empty", "", `{}`, ""},
		{"same twice", "${k}${k}$[n]$[n]", `{"n":1}`, "vv11"},
		{"kinds of values", "$[s] $[b] $[f] $[z]", `{"s":"a b","b":true,"f":1.50,"z":null}`, "a b true 1.50 null"},
		{"objects and arrays stay", "$[o] $[l]", `{"o":{},"l":[1]}`, "$[o] $[l]"},
		{"into an array", "$[l.0]", `{"l":[1]}`, "$[l.0]"},
		{"through a value", "$[s.x]", `{"s":"a"}`, "$[s.x]"},
		{"empty path", "$[]$[a..b]", `{"a":{"b":1}}`, "$[]$[a..b]"},
		{"a key with a dot", "${a.b}", `{}`, "dot"},
		{"metadata brings a path", "${inner}", `{"n":5}`, "5"},
		{"metadata brings a key", "${self}", `{}`, "${k}"},
		{"a key within a key", "${${n}}$[${n}]", `{"name":5}`, "${name}5"},
		{"all metadata", "${*}", `{}`, `{"a.b":"dot","inner":"$[n]","k":"v","n":"name","quote":"\"<&","self":"${k}"}`},
		{"the whole body", "<$[*]>", " {\"a\": [1, 2]} ", `<{"a":[1,2]}>`},
		{"the whole of an array", "$[*]$[a]", "[1]", `[1]$[a]`},
		{"no JSON", "$[*]$[a]", "hello", `$[*]$[a]`},
		{"no body", "$[*]$[a]", "", `$[*]$[a]`},
		{"unclosed", "${k $[n", `{"n":1}`, "${k $[n"},
		{"closed only", "a} b] ${k}", `{}`, "a} b] v"},
		{"spaces count", "${ k }$[ n ]", `{"n":1}`, "${ k }$[ n ]"},
		{"texts beyond ASCII", "$[ü]", "{\"ü\":\"\\ud83d\\ude00\u2028\"}", "😀\u2028"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &rule.Message{Metadata: rule.Metadata{}.WithAll(metadata), Body: rule.TextBody(c.body)}
			if got := pattern.Compile(c.pattern).Of(m); got != c.want {
				t.Errorf("%q becomes %q, want %q", c.pattern, got, c.want)
			}
		})
	}
}

func TestTypedBodiesAreReadLikeText(t *testing.T) {
	m := &rule.Message{
		Metadata: rule.Metadata{DeviceName: "D", HasTs: true, Ts: 5},
		Body: rule.BodyOf([]telemetry.KeyValue{
			{Key: "t", Value: telemetry.OfDouble(1.5)}, {Key: "o", Value: telemetry.OfJSON(`{"b":7}`)}, {Key: "s", Value: telemetry.OfString("x")},
		}),
	}
	p := pattern.CompileAll([]string{"${deviceName}/${ts}/${deviceType}", "$[t] $[o] $[o.b] $[s] $[x] $[*]"})
	if got, want := p[0].Of(m), "D/5/${deviceType}"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := p[1].Of(m), `1.5 $[o] 7 x $[x] {"t":1.5,"o":{"b":7},"s":"x"}`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFixed(t *testing.T) {
	for text, want := range map[string]bool{"": true, "a": true, "$ { } [": true, "${a}": false, "$[a]": false} {
		if p := pattern.Compile(text); p.Fixed() != want || p.Source() != text {
			t.Errorf("%q: fixed %v, source %q", text, p.Fixed(), p.Source())
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add("$[a.b]-${k}", "v", `{"a":{"b":7}}`)
	f.Add("${*}$[*]}}${${k}}", "$[a]", `[1]`)
	f.Add("$[", "]", `{`)
	f.Fuzz(func(t *testing.T, text, value, body string) {
		p := pattern.Compile(text)
		m := &rule.Message{Body: rule.TextBody(body)}
		if got := p.Of(m); !strings.Contains(text, "*") && !strings.Contains(text, "$[") && got != text {
			t.Errorf("%q becomes %q without metadata", text, got)
		}
		m.Metadata = m.Metadata.With("k", value)
		if got := p.Of(m); p.Fixed() && got != text {
			t.Errorf("%q has no placeholder and becomes %q", text, got)
		}
		if got := pattern.Compile("<${k}>").Of(m); !strings.Contains(value, "$[") && got != "<"+value+">" {
			t.Errorf("%q becomes %q", value, got)
		}
	})
}
