package checkrelation

import (
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestRelationsAreFound(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	other := b.NewDevice("Other", "meter")
	b.Relate(b.Device.Entity(), other)
	single := `"checkForSingleEntity":true,"entityType":"DEVICE","entityId":"` + other.ID.String() + `"}`
	for config, want := range map[string]rule.Relation{
		`{"direction":"FROM","relationType":"Contains",` + single:                     rule.True,
		`{"direction":"TO","relationType":"Contains",` + single:                       rule.False,
		`{"direction":"FROM","relationType":"Manages",` + single:                      rule.False,
		`{"direction":"FROM","relationType":"Contains","checkForSingleEntity":false}`: rule.True,
		`{"direction":"TO","relationType":"Contains","checkForSingleEntity":false}`:   rule.False,
	} {
		out := b.Process(b.Node(Kind(), config), b.Message("X", `{}`, nil))
		if len(out.Emitted) != 1 || out.Emitted[0].Relation != want {
			t.Errorf("%s: %+v", config, out.Emitted)
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"direction":"FROM"}`:                                              "relationType",
		`{"direction":"X","relationType":"A"}`:                              "direction",
		`{"direction":"TO","relationType":"A","checkForSingleEntity":true}`: "entityId",
		`{"direction":"TO","relationType":"A","checkForSingleEntity":true,"entityType":"X","entityId":"784f394c-42b6-435a-983c-b7beff2784f9"}`: "entityType",
		`{"direction":"TO","relationType":"A","checkForSingleEntity":true,"entityType":"DEVICE","entityId":"x"}`:                               "entityId",
	} {
		if _, err := b.New(Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}

func TestA5_OldDirectionsAreInverted(t *testing.T) {
	for _, c := range []struct {
		from      int
		old, want string
	}{
		{0, `{"direction":"FROM"}`, `{"direction":"TO"}`},
		{0, `{"direction":"TO"}`, `{"direction":"FROM"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
