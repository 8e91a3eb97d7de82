package getdeviceattributes

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func TestTheFirstDeviceOfTheTypesIsTaken(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	meter, sensor := b.NewDevice("Meter", "meter"), b.NewDevice("Sensor", "sensor")
	b.Relate(b.Device.Entity(), meter)
	b.Relate(b.Device.Entity(), sensor)
	b.Put(meter, storage.Server, 1, `{"v":1}`)
	b.Put(sensor, storage.Server, 1, `{"v":2}`)
	const config = `{"serverAttributeNames":["v"],"fetchTo":"METADATA","deviceRelationsQuery":{"direction":"FROM","maxLevel":1,"relationType":"Contains","deviceTypes":`
	got := b.Process(b.Node(Kind(), config+`["sensor"]}}`), b.Message("X", `{}`, nil)).Emitted
	want := []rulenodetest.Emitted{{
		Relation: rule.Success, Type: "X", Data: `{}`, Metadata: map[string]string{"ss_v": "2"}, Originator: b.Device.Entity(),
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if why, failed := b.Process(b.Node(Kind(), config+`["x"]}}`), b.Message("X", `{}`, nil)).Failed(); !failed || !strings.Contains(why, "related") {
		t.Errorf("no device of the type: %q, %v", why, failed)
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"fetchTo":"DATA"}`: "deviceRelationsQuery.deviceTypes",
		`{"fetchTo":"DATA","deviceRelationsQuery":{"direction":"X","deviceTypes":["a"]}}`: "deviceRelationsQuery.direction",
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
		{0, `{"fetchToData":"true"}`, `{"fetchTo":"DATA"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
