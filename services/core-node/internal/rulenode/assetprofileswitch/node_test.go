package assetprofileswitch

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestProfilesAreRelations(t *testing.T) {
	b := rulenodetest.New(t)
	entities := b.Platform()
	plain, err := entities.Assets.Create(t.Context(), entity.Asset{Tenant: b.Services.Tenant, Name: "A"})
	if err != nil {
		t.Fatal(err)
	}
	building, err := entities.Assets.Create(t.Context(), entity.Asset{Tenant: b.Services.Tenant, Name: "B", Type: "Building"})
	if err != nil {
		t.Fatal(err)
	}
	node := b.Node(Kind(), "")
	for _, c := range []struct {
		name       string
		originator ident.EntityID
		want       rule.Relation
	}{
		{"the default profile", plain.Entity(), "default"},
		{"a profile of its own", building.Entity(), "Building"},
		{"an asset that is no more", ident.EntityID{Type: ident.Asset, ID: ident.ID{9}}, rule.Failure},
		{"no asset", b.Device.Entity(), rule.Failure},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := b.Message("T", `{}`, nil)
			in.Originator = c.originator
			if diff := cmp.Diff([]rule.Relation{c.want}, b.Process(node, in).Relations()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
