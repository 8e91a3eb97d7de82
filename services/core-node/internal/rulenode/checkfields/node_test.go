package checkfields

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestFieldsThatAreThere(t *testing.T) {
	for _, c := range []struct {
		name, config, body string
		want               rule.Relation
	}{
		{"all are there", `{"messageNames":["a","b"],"metadataNames":["k"],"checkAllKeys":true}`, `{"a":1,"b":null}`, rule.True},
		{"one is not", `{"messageNames":["a","b"],"checkAllKeys":true}`, `{"a":1}`, rule.False},
		{"metadata are not", `{"messageNames":["a"],"metadataNames":["x"],"checkAllKeys":true}`, `{"a":1}`, rule.False},
		{"any of the body", `{"messageNames":["a","b"],"metadataNames":["x"],"checkAllKeys":false}`, `{"b":1}`, rule.True},
		{"any of the metadata", `{"messageNames":["a"],"metadataNames":["k"],"checkAllKeys":false}`, `{}`, rule.True},
		{"none of any", `{"messageNames":["a"],"metadataNames":["x"],"checkAllKeys":false}`, `{}`, rule.False},
		{"all of nothing", `{"checkAllKeys":true}`, `hello`, rule.True},
		{"any of nothing", `{"checkAllKeys":false}`, `{"a":1}`, rule.False},
		{"no paths", `{"messageNames":["a.b"],"checkAllKeys":true}`, `{"a":{"b":1}}`, rule.False},
		{"no object", `{"messageNames":["a"],"checkAllKeys":true}`, `[1]`, rule.Failure},
		{"no object, any", `{"messageNames":["a"],"metadataNames":["k"],"checkAllKeys":false}`, `null`, rule.Failure},
		{"only metadata asked for", `{"metadataNames":["k"],"checkAllKeys":true}`, `[1]`, rule.True},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			out := b.Process(b.Node(Kind(), c.config), b.Message("T", c.body, map[string]string{"k": ""}))
			if diff := cmp.Diff([]rule.Relation{c.want}, out.Relations()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFieldsOfTypedBodies(t *testing.T) {
	b := rulenodetest.New(t)
	in := b.Message("T", "", nil)
	in.Body = rule.BodyOf([]telemetry.KeyValue{{Key: "a", Value: telemetry.OfLong(1)}})
	for field, want := range map[string]rule.Relation{"a": rule.True, "b": rule.False} {
		out := b.Process(b.Node(Kind(), `{"messageNames":["`+field+`"],"checkAllKeys":true}`), in)
		if diff := cmp.Diff([]rule.Relation{want}, out.Relations()); diff != "" {
			t.Error(diff)
		}
	}
}
