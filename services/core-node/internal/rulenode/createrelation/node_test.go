package createrelation

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

// related lists the device's relations as "FROM Name" and "TO Name".
func related(t *testing.T, b *rulenodetest.Bench) []string {
	t.Helper()
	all := []string{}
	for _, d := range []relation.Direction{relation.From, relation.To} {
		found, err := b.Services.Relations.Search(t.Context(), b.Services.Tenant, relation.Query{Root: b.Device.Entity(), Direction: d, MaxLevel: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range found {
			all = append(all, string(d)+" "+r.Type+" "+name(t, b, r.Far(d)))
		}
	}
	return all
}

func name(t *testing.T, b *rulenodetest.Bench, e ident.EntityID) string {
	t.Helper()
	var name string
	var err error
	switch e.Type {
	case ident.Asset:
		var a entity.Asset
		a, err = b.Services.Entities.Assets.Get(t.Context(), b.Services.Tenant, e.ID)
		name = a.Name + "/" + a.Type
	case ident.Customer:
		var c entity.Customer
		c, err = b.Services.Entities.Customers.Get(t.Context(), b.Services.Tenant, ident.CustomerID{ID: e.ID})
		name = c.Title
	default:
		var d entity.Device
		d, err = b.Services.Entities.Devices.Device(t.Context(), b.Services.Tenant, ident.DeviceID{ID: e.ID})
		name = d.Name + "/" + d.Type
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestWhatIsRelated(t *testing.T) {
	for _, c := range []struct {
		name, config string
		want         []string
	}{
		{"from the originator", `"direction":"FROM","entityType":"DEVICE","entityNamePattern":"$[n]"`, []string{"FROM Contains Old/meter", "FROM Contains Other/meter"}},
		{"to the originator", `"direction":"TO","entityType":"DEVICE","entityNamePattern":"Other"`, []string{"FROM Contains Old/meter", "TO Contains Other/meter"}},
		{"what is there already", `"direction":"FROM","entityType":"DEVICE","entityNamePattern":"Old"`, []string{"FROM Contains Old/meter"}},
		{"in place of others", `"direction":"FROM","entityType":"DEVICE","entityNamePattern":"Other","removeCurrentRelations":true`, []string{"FROM Contains Other/meter"}},
		{
			"an asset that is made", `"direction":"TO","entityType":"ASSET","entityNamePattern":"Hall ${h}","entityTypePattern":"hall","createEntityIfNotExists":true`,
			[]string{"FROM Contains Old/meter", "TO Contains Hall 1/hall"},
		},
		{
			"a device that is made", `"direction":"FROM","entityType":"DEVICE","entityNamePattern":"New","entityTypePattern":"${h}x","createEntityIfNotExists":true,"removeCurrentRelations":true`,
			[]string{"FROM Contains New/1x"},
		},
		{
			"a customer that is made", `"direction":"TO","entityType":"CUSTOMER","entityNamePattern":"New","createEntityIfNotExists":true`,
			[]string{"FROM Contains Old/meter", "TO Contains New"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			b.Platform()
			b.Relate(b.Device.Entity(), b.NewDevice("Old", "meter"))
			b.NewDevice("Other", "meter")
			node := b.Node(Kind(), `{"relationType":"Contains",`+c.config+`}`)
			for range 2 { // the second time nothing is left to do
				out := b.Process(node, b.Message("X", `{"n":"Other"}`, map[string]string{"h": "1"}))
				if len(out.Emitted) != 1 || out.Emitted[0].Relation != rule.Success || out.Emitted[0].Originator != b.Device.Entity() {
					t.Fatalf("%+v", out)
				}
				if diff := cmp.Diff(c.want, related(t, b)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestTheMessageGoesOnAsTheOtherEntitys(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	other := b.NewDevice("Other", "meter")
	config := `{"relationType":"Contains","direction":"FROM","entityType":"DEVICE","entityNamePattern":"Other","changeOriginatorToRelatedEntity":true}`
	out := b.Process(b.Node(Kind(), config), b.Message("X", `{}`, nil))
	if len(out.Emitted) != 1 || out.Emitted[0].Originator != other {
		t.Errorf("%+v", out)
	}
}

func TestWhoIsNotThereFails(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	for _, config := range []string{
		`{"relationType":"Contains","direction":"FROM","entityType":"DEVICE","entityNamePattern":"None"}`,
		`{"relationType":"Contains","direction":"FROM","entityType":"USER","entityNamePattern":"None","createEntityIfNotExists":true}`,
	} {
		if why, failed := b.Process(b.Node(Kind(), config), b.Message("X", `{}`, nil)).Failed(); !failed || !strings.Contains(why, "None") {
			t.Errorf("%s: %q, %v", config, why, failed)
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"direction":"FROM"}`:                                   "relationType",
		`{"direction":"X","relationType":"A"}`:                   "direction",
		`{"direction":"TO","relationType":"A"}`:                  "entityType",
		`{"direction":"TO","relationType":"A","entityType":"X"}`: "entityType",
	} {
		if _, err := b.New(Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}

func TestOldConfigurationsAreUpgraded(t *testing.T) {
	for _, c := range []struct {
		from      int
		old, want string
	}{
		{0, `{"direction":"FROM","entityCacheExpiration":300}`, `{"direction":"TO"}`},
		{0, `{"direction":"TO"}`, `{"direction":"TO"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
