package assigntocustomer

import (
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestDevicesAndAssetsAreAssigned(t *testing.T) {
	b := rulenodetest.New(t)
	entities := b.Platform()
	asset, err := entities.Assets.Create(t.Context(), entity.Asset{Tenant: b.Services.Tenant, Name: "A"})
	if err != nil {
		t.Fatal(err)
	}
	node := b.Node(Kind(), `{"customerNamePattern":"C ${n}","createCustomerIfNotExists":true}`)
	for _, e := range []ident.EntityID{b.Device.Entity(), b.Device.Entity(), asset.Entity()} {
		in := b.Message("X", `{}`, map[string]string{"n": "1"})
		in.Originator = e
		if got := b.Process(node, in).Relations(); len(got) != 1 || got[0] != rule.Success {
			t.Fatalf("%s: %v", e, got)
		}
	}
	customer, err := entities.Customers.ByTitle(t.Context(), b.Services.Tenant, "C 1")
	if err != nil {
		t.Fatal(err)
	}
	d, err := entities.Devices.Device(t.Context(), b.Services.Tenant, b.Device)
	if err != nil || d.Customer != customer.ID {
		t.Errorf("the device is %v's, %v", d.Customer, err)
	}
	a, err := entities.Assets.Get(t.Context(), b.Services.Tenant, asset.ID)
	if err != nil || a.Customer != customer.ID {
		t.Errorf("the asset is %v's, %v", a.Customer, err)
	}
}

func TestWhatFails(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	tenant := b.Message("X", `{}`, nil)
	tenant.Originator = b.Services.Tenant.Entity()
	for _, c := range []struct {
		config, why string
		in          *rule.Message
	}{
		{"", "customerNamePattern", b.Message("X", `{}`, nil)},
		{`{"customerNamePattern":"None"}`, "None", b.Message("X", `{}`, nil)},
		{`{"customerNamePattern":"C","createCustomerIfNotExists":true}`, "TENANT", tenant},
	} {
		if why, failed := b.Process(b.Node(Kind(), c.config), c.in).Failed(); !failed || !strings.Contains(why, c.why) {
			t.Errorf("%s: %q, %v", c.config, why, failed)
		}
	}
}

func TestOldConfigurationsAreUpgraded(t *testing.T) {
	for _, c := range []struct {
		from      int
		old, want string
	}{
		{0, `{"customerCacheExpiration":300,"customerNamePattern":"C"}`, `{"customerNamePattern":"C"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
