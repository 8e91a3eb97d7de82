package entitytypeswitch

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestTypesTakeTheirRelation(t *testing.T) {
	b := rulenodetest.New(t)
	for of, want := range map[ident.EntityType]rule.Relation{
		ident.Device: "Device", ident.Asset: "Asset", ident.RuleChain: "Rule chain", ident.Tenant: "Tenant", ident.Customer: "Customer",
		ident.DeviceProfile: "Device profile", ident.RuleNode: "Rule node", ident.User: "User",
	} {
		in := b.Message("T", `{}`, nil)
		in.Originator.Type = of
		if diff := cmp.Diff([]rule.Relation{want}, b.Process(b.Node(Kind(), ""), in).Relations()); diff != "" {
			t.Errorf("%v: %s", of, diff)
		}
		if !slices.Contains(Kind().Relations, want) {
			t.Errorf("%s is none of the node's relations", want)
		}
	}
}
