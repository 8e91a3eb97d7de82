package gettenantdetails

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestWhatIsFetched(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	tenant, err := b.Services.Entities.Tenants.Get(t.Context(), b.Services.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	tenant.Title, tenant.Contact, tenant.AdditionalInfo = "C", entity.Contact{City: "Kyiv", Email: "c@example.org"}, []byte(`{"description":"who"}`)
	if _, err := b.Services.Entities.Tenants.Update(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	id := tenant.ID.String()
	const chosen = `"detailsList":["ID","TITLE","COUNTRY","CITY","EMAIL","ADDITIONAL_INFO"]`
	for config, want := range map[string]rulenodetest.Emitted{
		`{` + chosen + `,"fetchTo":"DATA"}`: {
			Metadata: map[string]string{},
			Data:     `{"tenant_id":"` + id + `","tenant_title":"C","tenant_city":"Kyiv","tenant_email":"c@example.org","tenant_additionalInfo":"who"}`,
		},
		`{` + chosen + `,"fetchTo":"METADATA"}`: {Data: `{}`, Metadata: map[string]string{
			"tenant_id": id, "tenant_title": "C", "tenant_city": "Kyiv", "tenant_email": "c@example.org", "tenant_additionalInfo": "who",
		}},
	} {
		want.Relation, want.Type, want.Originator = rule.Success, "X", b.Device.Entity()
		got := b.Process(b.Node(Kind(), config), b.Message("X", `{}`, nil)).Emitted
		if diff := cmp.Diff([]rulenodetest.Emitted{want}, got); diff != "" {
			t.Errorf("%s: %s", config, diff)
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"detailsList":["ID"]}`:                      "fetchTo",
		`{"detailsList":[],"fetchTo":"DATA"}`:         "detailsList",
		`{"detailsList":["ID","X"],"fetchTo":"DATA"}`: "detailsList[1]",
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
		{0, `{"addToMetadata":true}`, `{"fetchTo":"METADATA"}`},
		{0, `{"addToMetadata":false}`, `{"fetchTo":"DATA"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
