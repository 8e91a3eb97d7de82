package scriptswitch

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestResultsTakeTheirRelations(t *testing.T) {
	for _, c := range []struct {
		name, result string
		want         []rule.Relation
		fail         string
	}{
		{"B5 telemetry", `["two"]`, []rule.Relation{"two"}, ""},
		{"B5 anything else", `["one","nine"]`, []rule.Relation{"one", "nine"}, ""},
		{"B6 nothing", `[]`, nil, ""},
		{"B6 the same twice", `["a","a"]`, []rule.Relation{"a"}, ""},
		{"B6 one of them is no string", `["a",1]`, []rule.Relation{rule.Failure}, "Wrong result type: NUMBER"},
		{"a string", `"My Own"`, []rule.Relation{"My Own"}, ""},
		{"Failure by name", `["failure"]`, []rule.Relation{rule.Failure}, "the script chose Failure"},
		{"no return", ``, []rule.Relation{rule.Failure}, "Wrong result type: UNDEFINED"},
		{"null", `null`, []rule.Relation{rule.Failure}, "Wrong result type: NULL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			b.Scripts.Return(c.result)
			out := b.Process(b.Node(Kind(), ""), b.Message("T", `{"a":1}`, map[string]string{"k": "v"}))
			if diff := cmp.Diff(c.want, out.Relations()); diff != "" {
				t.Error(diff)
			}
			for _, e := range out.Emitted {
				if e.Data != `{"a":1}` || e.Type != "T" || e.Metadata["k"] != "v" || e.Err != c.fail {
					t.Errorf("it emits %+v", e)
				}
			}
		})
	}
}

func TestErrorsOfTheScriptFail(t *testing.T) {
	b := rulenodetest.New(t)
	b.Scripts.Throw(errors.New("TypeError: x"))
	if why, _ := b.Process(b.Node(Kind(), ""), b.Message("T", `{}`, nil)).Failed(); why != "TypeError: x" {
		t.Errorf("it failed with %q", why)
	}
}
