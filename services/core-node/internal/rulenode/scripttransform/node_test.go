package scripttransform

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestWhatBecomesOfAMessage(t *testing.T) {
	type sent = rulenodetest.Emitted
	was := map[string]string{"k": "v"}
	for _, c := range []struct {
		name, result string
		want         []sent
	}{
		{"B7 only the body", `{"msg":{"a":1}}`, []sent{{Relation: rule.Success, Type: "T", Data: `{"a":1}`, Metadata: was}}},
		{"B8 metadata", `{"metadata":{"n":5,"b":true}}`, []sent{{Relation: rule.Success, Type: "T", Data: `{"x":1}`, Metadata: map[string]string{"n": "5", "b": "true"}}}},
		{"B9 nested metadata", `{"metadata":{"o":{}}}`, []sent{{Relation: rule.Failure, Type: "T", Data: `{"x":1}`, Metadata: was, Err: "metadata.o: Wrong result type: OBJECT"}}},
		{"B10 type of null", `{"msgType":null}`, []sent{{Relation: rule.Success, Type: "null", Data: `{"x":1}`, Metadata: was}}},
		{"B11 two messages", `[{"msg":1},{"msg":2}]`, []sent{
			{Relation: rule.Success, Type: "T", Data: `1`, Metadata: was}, {Relation: rule.Success, Type: "T", Data: `2`, Metadata: was},
		}},
		{"B11 one of an array", `[{"msg":1}]`, []sent{{Relation: rule.Success, Type: "T", Data: `1`, Metadata: was}}},
		{"B11 an empty array", `[]`, []sent{{Relation: rule.Failure, Type: "T", Data: `{"x":1}`, Metadata: was, Err: "the list of messages is empty"}}},
		{"B11 one of two is bad", `[{"msg":1},{"metadata":5}]`, []sent{
			{Relation: rule.Failure, Type: "T", Data: `{"x":1}`, Metadata: was, Err: "message 1: metadata: Wrong result type: NUMBER"},
		}},
		{"no return", ``, []sent{{Relation: rule.Failure, Type: "T", Data: `{"x":1}`, Metadata: was, Err: "Wrong result type: UNDEFINED"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			b.Scripts.Return(c.result)
			in := b.Message("T", `{"x":1}`, was)
			for i := range c.want {
				c.want[i].Originator = in.Originator
			}
			if diff := cmp.Diff(c.want, b.Process(b.Node(Kind(), ""), in).Emitted); diff != "" {
				t.Error(diff)
			}
		})
	}
}
