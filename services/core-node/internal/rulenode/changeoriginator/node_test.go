package changeoriginator

import (
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestA27_WhoBecomesTheOriginator(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	customer := b.Customer("C").Entity()
	other := b.NewDevice("Other 7", "meter")
	b.Relate(b.Device.Entity(), other)
	made, err := b.Services.Alarms.CreateOrUpdate(t.Context(), alarm.Request{
		Tenant: b.Services.Tenant, Originator: other, Type: "T", Severity: alarm.Major,
	})
	if err != nil {
		t.Fatal(err)
	}
	meters, err := b.Services.Entities.DeviceProfiles.ByName(t.Context(), b.Services.Tenant, "meter")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, config string
		of, want     ident.EntityID
		profile      ident.ID
	}{
		{"the customer", "", b.Device.Entity(), customer, ident.ID{}},
		{"a customer is its own", "", customer, customer, ident.ID{}},
		{"the tenant", `{"originatorSource":"TENANT"}`, b.Device.Entity(), b.Services.Tenant.Entity(), ident.ID{}},
		{"related", `{"originatorSource":"RELATED","relationsQuery":{"direction":"FROM","maxLevel":1}}`, b.Device.Entity(), other, meters.ID},
		{"whose alarm it is", `{"originatorSource":"ALARM_ORIGINATOR"}`, made.Now.Entity(), other, meters.ID},
		{"by name", `{"originatorSource":"ENTITY","entityType":"DEVICE","entityNamePattern":"Other $[n]"}`, b.Device.Entity(), other, meters.ID},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, turn := b.Message("X", `{"n":7}`, map[string]string{"k": "v"}), &rule.Turn{}
			in.Originator, in.Profile = c.of, ident.New()
			if err := b.Node(Kind(), c.config).Process(t.Context(), in, turn); err != nil {
				t.Fatal(err)
			}
			out := turn.Emissions()
			if len(out) != 1 || out[0].Relation != rule.Success || out[0].Message.Originator != c.want || out[0].Message.Profile != c.profile {
				t.Fatalf("%+v", out)
			}
			if m := out[0].Message; m.ID != in.ID || m.Type != "X" || m.Body.Text() != `{"n":7}` || m.Metadata.All()["k"] != "v" || in.Originator != c.of {
				t.Errorf("it is another message: %+v", m)
			}
		})
	}
}

func TestWhatFails(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	for config, want := range map[string]string{
		"": "no customer", `{"originatorSource":"ALARM_ORIGINATOR"}`: "no alarm",
		`{"originatorSource":"RELATED","relationsQuery":{"direction":"TO"}}`:                               "related",
		`{"originatorSource":"ENTITY","entityType":"DEVICE","entityNamePattern":"None"}`:                   "None",
		`{"originatorSource":"ENTITY","entityType":"USER","entityNamePattern":"sysadmin@thingsboard.org"}`: "find user",
	} {
		if why, failed := b.Process(b.Node(Kind(), config), b.Message("X", `{}`, nil)).Failed(); !failed || !strings.Contains(why, want) {
			t.Errorf("%s: %q, %v", config, why, failed)
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{}`:                             "originatorSource",
		`{"originatorSource":"RELATED"}`: "relationsQuery",
		`{"originatorSource":"ENTITY","entityType":"X"}`:      "entityType",
		`{"originatorSource":"ENTITY","entityType":"DEVICE"}`: "entityNamePattern",
	} {
		if _, err := b.New(Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}
