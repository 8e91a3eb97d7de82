package script_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/script"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func prepare(t *testing.T, b *rulenodetest.Bench, config string) (*script.Function, error) {
	t.Helper()
	var source script.Source
	if err := json.Unmarshal([]byte(config), &source); err != nil {
		t.Fatal(err)
	}
	return source.Prepare(b.Services, script.StandardFields(), script.MessageParameters())
}

func TestTheScriptOfTheLanguageIsPrepared(t *testing.T) {
	for _, c := range []struct{ name, config, body string }{
		{"B23 no language is JS", `{"jsScript":"a","tbelScript":"b"}`, "a"},
		{"B23 JS", `{"scriptLang":"JS","jsScript":"a","tbelScript":"b"}`, "a"},
		{"the other one may be empty", `{"scriptLang":"JS","jsScript":"a"}`, "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			if _, err := prepare(t, b, c.config); err != nil {
				t.Fatal(err)
			}
			want := []rulenodetest.Prepared{{Parameters: []string{"msg", "metadata", "msgType"}, Body: c.body}}
			if diff := cmp.Diff(want, b.Scripts.Prepared()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestScriptsThatCannotRun(t *testing.T) {
	for _, c := range []struct {
		name, config string
		refuse       error
		notStartable bool
		want         string
	}{
		{"B23 TBEL is not run, and JS not in its place", `{"scriptLang":"TBEL","jsScript":"a","tbelScript":"b"}`, nil, true, "tbelScript: node cannot be started: scripts in TBEL"},
		{"B22 a syntax error", `{"jsScript":"a"}`, errors.New("SyntaxError: Unexpected token"), true, "jsScript: node cannot be started: SyntaxError"},
		{"no script", `{}`, nil, false, "jsScript: a script is needed"},
		{"a blank script", `{"jsScript":" \n"}`, nil, false, "jsScript: a script is needed"},
		{"a blank script of the language that counts", `{"scriptLang":"TBEL","jsScript":"a"}`, nil, false, "tbelScript: a script is needed"},
		{"an unknown language", `{"scriptLang":"LUA","jsScript":"a"}`, nil, false, "scriptLang: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			b.Scripts.Refuse = c.refuse
			_, err := prepare(t, b, c.config)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || errors.Is(err, rule.ErrNotStartable) != c.notStartable {
				t.Errorf("%v, want one that starts with %q", err, c.want)
			}
			if c.refuse == nil && len(b.Scripts.Prepared()) != 0 {
				t.Errorf("it prepared %v", b.Scripts.Prepared())
			}
		})
	}
}

func TestWhatScriptsAreGiven(t *testing.T) {
	b := rulenodetest.New(t)
	f, err := prepare(t, b, `{"jsScript":"a"}`)
	if err != nil {
		t.Fatal(err)
	}
	typed := &rule.Message{
		Type: "POST_TELEMETRY_REQUEST", Metadata: rule.Metadata{DeviceName: "<D&1>", HasTs: true, Ts: 5}.With("b", "\u2028😀\""),
		Body: rule.BodyOf([]telemetry.KeyValue{{Key: "a", Value: telemetry.OfLong(7)}}),
	}
	for _, m := range []*rule.Message{typed, {Type: "", Body: rule.TextBody(` "😀\ud83d ` + "\u2028" + `" `)}} {
		if _, err := f.Call(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	want := [][]string{
		{`{"a":7}`, `{"b":"\u2028😀\"","deviceName":"<D&1>","ts":"5"}`, "POST_TELEMETRY_REQUEST"}, // B14
		{` "😀\ud83d ` + "\u2028" + `" `, `{}`, ""},                                               // B27
	}
	if diff := cmp.Diff(want, b.Scripts.Calls()); diff != "" {
		t.Error(diff)
	}
}

func TestB14_MetadataAreTexts(t *testing.T) {
	b := rulenodetest.New(t)
	f, err := prepare(t, b, `{"jsScript":"return typeof metadata.ts === 'string';"}`)
	if err != nil {
		t.Fatal(err)
	}
	m := &rule.Message{Metadata: rule.Metadata{HasTs: true, Ts: 1700000000000}, Body: rule.TextBody(`{}`)}
	if _, err := f.Call(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var given map[string]any
	if err := json.Unmarshal([]byte(b.Scripts.Calls()[0][1]), &given); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"ts": "1700000000000"}, given); diff != "" {
		t.Error(diff)
	}
}

func TestB12_DataThatIsNoJSONFails(t *testing.T) {
	b := rulenodetest.New(t)
	f, err := prepare(t, b, `{"jsScript":"return true;"}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"hello", "", "{", "1 2"} {
		m := &rule.Message{Body: rule.TextBody(data)}
		_, filter := f.Filter(t.Context(), m)
		_, choice := f.Switch(t.Context(), m)
		_, transform := f.Transform(t.Context(), m)
		_, text := f.Text(t.Context(), m)
		_, _, any := f.JSON(t.Context(), m)
		for use, err := range map[string]error{"filter": filter, "switch": choice, "transform": transform, "text": text, "json": any} {
			if err == nil || !strings.Contains(err.Error(), "JSON") || rule.PlatformFault(err) {
				t.Errorf("%s of %q: %v", use, data, err)
			}
		}
	}
	if calls := b.Scripts.Calls(); len(calls) != 0 {
		t.Errorf("it was called with %v", calls)
	}
}

func TestB18_AnyJSONIsTaken(t *testing.T) {
	b := rulenodetest.New(t)
	f, err := prepare(t, b, `{"jsScript":"return {prev: metadata.prevAlarmDetails};"}`)
	if err != nil {
		t.Fatal(err)
	}
	for result, want := range map[string]bool{`{"prev":"{\"a\":1}"}`: true, `null`: true, `[1]`: true, `"x"`: true, `5`: true, ``: false} {
		b.Scripts.Return(result)
		text, ok, err := f.JSON(t.Context(), b.Message("T", `{}`, map[string]string{"prevAlarmDetails": `{"a":1}`}))
		if err != nil || text != result || ok != want {
			t.Errorf("%q becomes %q, %v, %v", result, text, ok, err)
		}
	}
	if got, want := b.Scripts.Calls()[0][1], `{"prevAlarmDetails":"{\"a\":1}"}`; got != want {
		t.Errorf("the metadata are %s, want %s", got, want)
	}
}

func TestErrorsOfCallsArePassedOn(t *testing.T) {
	b := rulenodetest.New(t)
	f, err := prepare(t, b, `{"jsScript":"a"}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []error{errors.New("TypeError: x is undefined"), storage.ErrUnavailable} {
		b.Scripts.Throw(want)
		if _, err := f.Filter(t.Context(), b.Message("T", `{}`, nil)); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}
