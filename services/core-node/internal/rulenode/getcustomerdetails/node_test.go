package getcustomerdetails

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
	made, err := b.Services.Entities.Customers.Create(t.Context(), entity.Customer{
		Tenant: b.Services.Tenant, Title: "C", Contact: entity.Contact{City: "Kyiv", Email: "c@example.org"}, AdditionalInfo: []byte(`{"description":"who"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Services.Entities.Devices.Assign(t.Context(), b.Services.Tenant, b.Device, made.ID); err != nil {
		t.Fatal(err)
	}
	id := made.ID.String()
	const chosen = `"detailsList":["ID","TITLE","COUNTRY","CITY","EMAIL","ADDITIONAL_INFO"]`
	for config, want := range map[string]rulenodetest.Emitted{
		`{` + chosen + `,"fetchTo":"DATA"}`: {
			Metadata: map[string]string{},
			Data:     `{"customer_id":"` + id + `","customer_title":"C","customer_city":"Kyiv","customer_email":"c@example.org","customer_additionalInfo":"who"}`,
		},
		`{` + chosen + `,"fetchTo":"METADATA"}`: {Data: `{}`, Metadata: map[string]string{
			"customer_id": id, "customer_title": "C", "customer_city": "Kyiv", "customer_email": "c@example.org", "customer_additionalInfo": "who",
		}},
	} {
		want.Relation, want.Type, want.Originator = rule.Success, "X", b.Device.Entity()
		got := b.Process(b.Node(Kind(), config), b.Message("X", `{}`, nil)).Emitted
		if diff := cmp.Diff([]rulenodetest.Emitted{want}, got); diff != "" {
			t.Errorf("%s: %s", config, diff)
		}
	}
}

func TestNoCustomerFails(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	config := `{"detailsList":["ID"],"fetchTo":"DATA"}`
	if why, failed := b.Process(b.Node(Kind(), config), b.Message("X", `{}`, nil)).Failed(); !failed || !strings.Contains(why, "no customer") {
		t.Errorf("%q, %v", why, failed)
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
