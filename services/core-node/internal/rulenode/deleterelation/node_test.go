package deleterelation

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestWhatIsRemoved(t *testing.T) {
	for _, c := range []struct {
		name, config string
		want         []string
	}{
		{"all of a direction", `{"direction":"FROM","relationType":"${type}"}`, []string{"TO"}},
		{"the other direction", `{"direction":"TO","relationType":"Contains"}`, []string{"FROM", "FROM"}},
		{"another type", `{"direction":"FROM","relationType":"Manages"}`, []string{"FROM", "FROM", "TO"}},
		{"one", `{"direction":"FROM","relationType":"Contains","deleteForSingleEntity":true,"entityType":"DEVICE","entityNamePattern":"$[n]"}`, []string{"FROM", "TO"}},
		{"one that is not related", `{"direction":"TO","relationType":"Contains","deleteForSingleEntity":true,"entityType":"DEVICE","entityNamePattern":"A"}`, []string{"FROM", "FROM", "TO"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			b.Platform()
			b.Relate(b.Device.Entity(), b.NewDevice("A", "meter"))
			b.Relate(b.Device.Entity(), b.NewDevice("B", "meter"))
			b.Relate(b.NewDevice("C", "meter"), b.Device.Entity())
			out := b.Process(b.Node(Kind(), c.config), b.Message("X", `{"n":"B"}`, map[string]string{"type": "Contains"}))
			if len(out.Emitted) != 1 || out.Emitted[0].Relation != rule.Success {
				t.Fatalf("%+v", out)
			}
			left := []string{}
			for _, d := range []relation.Direction{relation.From, relation.To} {
				found, err := b.Services.Relations.Search(t.Context(), b.Services.Tenant, relation.Query{Root: b.Device.Entity(), Direction: d, MaxLevel: 1})
				if err != nil {
					t.Fatal(err)
				}
				for range found {
					left = append(left, string(d))
				}
			}
			if diff := cmp.Diff(c.want, left); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhoIsNotThereFails(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	config := `{"direction":"FROM","relationType":"Contains","deleteForSingleEntity":true,"entityType":"DEVICE","entityNamePattern":"None"}`
	if why, failed := b.Process(b.Node(Kind(), config), b.Message("X", `{}`, nil)).Failed(); !failed || !strings.Contains(why, "None") {
		t.Errorf("%q, %v", why, failed)
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"direction":"FROM"}`:                                               "relationType",
		`{"direction":"X","relationType":"A"}`:                               "direction",
		`{"direction":"TO","relationType":"A","deleteForSingleEntity":true}`: "entityType",
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
		{0, `{"direction":"TO","entityCacheExpiration":300}`, `{"direction":"FROM"}`},
		{0, `{"direction":"TO"}`, `{"direction":"TO"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
