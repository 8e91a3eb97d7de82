package scriptfilter

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestResultsTakeTheirRelation(t *testing.T) {
	for _, c := range []struct {
		name, data, result string
		want               rule.Relation
		fail               string
	}{
		{"B1 true", `{"temperature":21}`, "true", rule.True, ""},
		{"B1 false", `{"temperature":20}`, "false", rule.False, ""},
		{"B1 nothing to compare", `{}`, "false", rule.False, ""},
		{"B2 a string", `{}`, `"true"`, rule.Failure, "Wrong result type: STRING"},
		{"B3 no return", `{}`, ``, rule.Failure, "Wrong result type: UNDEFINED"},
		{"B4 null", `{}`, `null`, rule.Failure, "Wrong result type: NULL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			b.Scripts.Return(c.result)
			in := b.Message("POST_TELEMETRY_REQUEST", c.data, map[string]string{"k": "v"})
			want := rulenodetest.Outcome{Emitted: []rulenodetest.Emitted{{
				Relation: c.want, Type: in.Type, Data: c.data, Metadata: map[string]string{"k": "v"}, Originator: in.Originator, Err: c.fail,
			}}}
			if diff := cmp.Diff(want, b.Process(b.Node(Kind(), ""), in)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([][]string{{c.data, `{"k":"v"}`, "POST_TELEMETRY_REQUEST"}}, b.Scripts.Calls()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestItRunsTheScriptConfigured(t *testing.T) {
	b := rulenodetest.New(t)
	b.Node(Kind(), `{"jsScript":"return msg.x === 1;"}`)
	want := []rulenodetest.Prepared{{Parameters: []string{"msg", "metadata", "msgType"}, Body: "return msg.x === 1;"}}
	if diff := cmp.Diff(want, b.Scripts.Prepared()); diff != "" {
		t.Error(diff)
	}
}

func TestB23_TBELIsNotRun(t *testing.T) {
	b := rulenodetest.New(t)
	_, err := b.New(Kind(), `{"scriptLang":"TBEL","jsScript":"return true;","tbelScript":"return false;"}`)
	if !errors.Is(err, rule.ErrNotStartable) || len(b.Scripts.Prepared()) != 0 {
		t.Errorf("%v; prepared %v", err, b.Scripts.Prepared())
	}
}
