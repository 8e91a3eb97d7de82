package splitarray

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestElementsBecomeMessages(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"A28 three", `[1,2,3]`, []string{"1", "2", "3"}},
		{"A28 none", ` [] `, nil},
		{"of every type", `[{"a": 1}, "x", null, [9007199254740993]]`, []string{`{"a": 1}`, `"x"`, `null`, `[9007199254740993]`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			in := b.Message("T", c.body, map[string]string{"k": "v"})
			var want []rulenodetest.Emitted
			for _, data := range c.want {
				want = append(want, rulenodetest.Emitted{
					Relation: rule.Success, Type: "T", Data: data, Metadata: map[string]string{"k": "v"}, Originator: in.Originator,
				})
			}
			if diff := cmp.Diff(want, b.Process(b.Node(Kind(), ""), in).Emitted); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestA28_WhatIsNoArrayFails(t *testing.T) {
	b := rulenodetest.New(t)
	in := b.Message("T", "", nil)
	for _, body := range []rule.Body{
		rule.TextBody(`{"a":1}`), rule.TextBody(`null`), rule.TextBody(`hello`), rule.TextBody(``),
		rule.BodyOf([]telemetry.KeyValue{{Key: "a", Value: telemetry.OfLong(1)}}),
	} {
		in.Body = body
		if why, failed := b.Process(b.Node(Kind(), ""), in).Failed(); !failed || why != "the body is not a JSON array" {
			t.Errorf("%q: failed %v with %q", body.Text(), failed, why)
		}
	}
}
