package gettenantattribute

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func TestWhatIsFetched(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	tenant := b.Services.Tenant.Entity()
	b.Put(tenant, storage.Server, 1, `{"limit":20}`)
	b.Put(tenant, storage.Timeseries, 1, `{"limit":true}`)
	for config, want := range map[string]rulenodetest.Emitted{
		`{"dataMapping":{"limit":"l","none":"x"},"dataToFetch":"ATTRIBUTES","fetchTo":"METADATA"}`:   {Data: `{}`, Metadata: map[string]string{"l": "20"}},
		`{"dataMapping":{"limit":"l","none":"x"},"dataToFetch":"LATEST_TELEMETRY","fetchTo":"DATA"}`: {Data: `{"l":true}`, Metadata: map[string]string{}},
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
		`{"dataToFetch":"ATTRIBUTES","fetchTo":"DATA"}`:                      "dataMapping",
		`{"dataMapping":{"a":"b"},"dataToFetch":"X","fetchTo":"DATA"}`:       "dataToFetch",
		`{"dataMapping":{"a":"b"},"dataToFetch":"ATTRIBUTES","fetchTo":"X"}`: "fetchTo",
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
		{0, `{"attrMapping":{"a":"b"},"telemetry":true}`, `{"dataMapping":{"a":"b"},"dataToFetch":"LATEST_TELEMETRY","fetchTo":"METADATA"}`},
		{0, `{"attrMapping":{"a":"b"},"telemetry":"false"}`, `{"dataMapping":{"a":"b"},"dataToFetch":"ATTRIBUTES","fetchTo":"METADATA"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
