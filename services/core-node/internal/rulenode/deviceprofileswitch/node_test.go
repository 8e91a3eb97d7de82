package deviceprofileswitch

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
	meter, err := entities.Devices.Create(t.Context(), entity.Device{Tenant: b.Services.Tenant, Name: "M", Type: "Meter"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	node := b.Node(Kind(), "")
	for _, c := range []struct {
		name       string
		originator ident.EntityID
		profile    ident.ID
		want       rule.Relation
	}{
		{"the default profile", b.Device.Entity(), ident.ID{}, "default"},
		{"a profile of its own", meter.ID.Entity(), ident.ID{}, "Meter"},
		{"the profile the message carries", meter.ID.Entity(), meter.Profile, "Meter"},
		{"a device that is no more", ident.EntityID{Type: ident.Device, ID: ident.ID{9}}, ident.ID{}, rule.Failure},
		{"a profile that is no more", meter.ID.Entity(), ident.ID{9}, rule.Failure},
		{"no device", b.Services.Tenant.Entity(), ident.ID{}, rule.Failure},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := b.Message("T", `{}`, nil)
			in.Originator, in.Profile = c.originator, c.profile
			if diff := cmp.Diff([]rule.Relation{c.want}, b.Process(node, in).Relations()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
