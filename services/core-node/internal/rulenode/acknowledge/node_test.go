package acknowledge

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestQ11_LaterFailuresAreFinal(t *testing.T) {
	b := rulenodetest.New(t)
	in := b.Message("T", `{"a":1}`, map[string]string{"k": "v"})
	want := rulenodetest.Outcome{Final: true, Emitted: []rulenodetest.Emitted{{
		Relation: rule.Success, Type: "T", Data: `{"a":1}`, Metadata: map[string]string{"k": "v"}, Originator: in.Originator,
	}}}
	if diff := cmp.Diff(want, b.Process(b.Node(Kind(), ""), in)); diff != "" {
		t.Error(diff)
	}
}
