package jsonpath

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestPathsLeadToParts(t *testing.T) {
	const body = `{"a":{"b":9007199254740993},"l":[{"t":21.0,"n":"x"},{"t":5,"n":"<y>"}],"s":"text"}`
	for _, c := range []struct{ path, want, fail string }{
		{"$", body, ""},
		{"$.a", `{"b":9007199254740993}`, ""},
		{"a.b", `9007199254740993`, ""},
		{"$.s", `"text"`, ""},
		{"$['l'][1].n", `"<y>"`, ""},
		{"$.l[*].t", `[21.0,5]`, ""},
		{"$.l[?(@.t > 10)].n", `["x"]`, ""},
		{"$.l[?@.t > 100]", `[]`, ""},
		{"$..n", `["x","<y>"]`, ""},
		{"$.gone", body, "there is nothing at $[\"gone\"]"},
		{"$.l[2]", body, "there is nothing at $[\"l\"][2]"},
	} {
		t.Run(c.path, func(t *testing.T) {
			b := rulenodetest.New(t)
			in := b.Message("T", body, map[string]string{"k": "v"})
			want := rulenodetest.Emitted{
				Relation: rule.Success, Type: "T", Data: c.want, Metadata: map[string]string{"k": "v"}, Originator: in.Originator, Err: c.fail,
			}
			if c.fail != "" {
				want.Relation = rule.Failure
			}
			got := b.Process(b.Node(Kind(), `{"jsonPath":"`+c.path+`"}`), in).Emitted
			if diff := cmp.Diff([]rulenodetest.Emitted{want}, got); diff != "" {
				t.Error(diff)
			}
			if in.Body.Text() != body {
				t.Errorf("the message it was given has become %s", in.Body.Text())
			}
		})
	}
}

func TestBodiesThatAreNoJSONFail(t *testing.T) {
	b := rulenodetest.New(t)
	if why, failed := b.Process(b.Node(Kind(), `{"jsonPath":"$.a"}`), b.Message("T", "hello", nil)).Failed(); !failed || !strings.Contains(why, "read the body") {
		t.Errorf("failed %v with %q", failed, why)
	}
}

func TestPathsAreChecked(t *testing.T) {
	b := rulenodetest.New(t)
	if _, err := b.New(Kind(), `{"jsonPath":" "}`); err == nil || !strings.HasPrefix(err.Error(), "jsonPath: ") || errors.Is(err, rule.ErrNotStartable) {
		t.Errorf("no path: %v", err)
	}
	if _, err := b.New(Kind(), `{"jsonPath":"$.a.length()"}`); !errors.Is(err, rule.ErrNotStartable) || !strings.HasPrefix(err.Error(), "jsonPath: ") {
		t.Errorf("an extension: %v", err)
	}
}
