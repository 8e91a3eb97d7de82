package getoriginatorfields

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestWhatIsFetched(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	customer := b.Customer("C").Entity()
	device := b.Device.Entity()
	for _, c := range []struct {
		name, config string
		of           any
		want         rulenodetest.Emitted
	}{
		{"by default", "", nil, rulenodetest.Emitted{Data: `{}`, Metadata: map[string]string{"originatorName": "Device", "originatorType": "default"}}},
		{
			"an empty field is the text null", `{"dataMapping":{"label":"l","none":"n"},"ignoreNullStrings":false,"fetchTo":"DATA"}`, nil,
			rulenodetest.Emitted{Data: `{"l":"null"}`, Metadata: map[string]string{}},
		},
		{
			"an empty field is left out", `{"dataMapping":{"label":"l","id.entityType":"e"},"ignoreNullStrings":true,"fetchTo":"DATA"}`, nil,
			rulenodetest.Emitted{Data: `{"e":"DEVICE"}`, Metadata: map[string]string{}},
		},
		{
			"of a customer", `{"dataMapping":{"title":"t","name":"n"},"fetchTo":"METADATA"}`, customer,
			rulenodetest.Emitted{Data: `{}`, Metadata: map[string]string{"t": "C", "n": "C"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := b.Message("X", `{}`, nil)
			in.Originator = device
			if c.of != nil {
				in.Originator = customer
			}
			c.want.Relation, c.want.Type, c.want.Originator = rule.Success, "X", in.Originator
			got := b.Process(b.Node(Kind(), c.config), in).Emitted
			if diff := cmp.Diff([]rulenodetest.Emitted{c.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"fetchTo":"DATA"}`:        "dataMapping",
		`{"dataMapping":{"a":"b"}}`: "fetchTo",
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
		{0, `{"fieldsMapping":{"a":"b"}}`, `{"dataMapping":{"a":"b"},"fetchTo":"METADATA"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
