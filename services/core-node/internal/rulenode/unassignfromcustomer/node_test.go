package unassignfromcustomer

import (
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestDevicesAndAssetsAreTakenBack(t *testing.T) {
	b := rulenodetest.New(t)
	entities := b.Platform()
	customer := b.Customer("C")
	asset, err := entities.Assets.Create(t.Context(), entity.Asset{Tenant: b.Services.Tenant, Name: "A", Customer: customer})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []ident.EntityID{b.Device.Entity(), b.Device.Entity(), asset.Entity(), asset.Entity()} {
		in := b.Message("X", `{}`, nil)
		in.Originator = e
		if got := b.Process(b.Node(Kind(), ""), in).Relations(); len(got) != 1 || got[0] != rule.Success {
			t.Fatalf("%s: %v", e, got)
		}
	}
	d, err := entities.Devices.Device(t.Context(), b.Services.Tenant, b.Device)
	if err != nil || !d.Customer.IsZero() {
		t.Errorf("the device is %v's, %v", d.Customer, err)
	}
	a, err := entities.Assets.Get(t.Context(), b.Services.Tenant, asset.ID)
	if err != nil || !a.Customer.IsZero() {
		t.Errorf("the asset is %v's, %v", a.Customer, err)
	}
}

func TestWhatFails(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	tenant, gone := b.Message("X", `{}`, nil), b.Message("X", `{}`, nil)
	tenant.Originator, gone.Originator.ID = b.Services.Tenant.Entity(), ident.New()
	for want, in := range map[string]*rule.Message{"TENANT": tenant, "find": gone} {
		if why, failed := b.Process(b.Node(Kind(), ""), in).Failed(); !failed || !strings.Contains(why, want) {
			t.Errorf("%q, %v, want %s", why, failed, want)
		}
	}
}

func TestOldConfigurationsAreUpgraded(t *testing.T) {
	for _, c := range []struct {
		from      int
		old, want string
	}{
		{0, `{"customerCacheExpiration":300,"customerNamePattern":""}`, `{"customerNamePattern":""}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
