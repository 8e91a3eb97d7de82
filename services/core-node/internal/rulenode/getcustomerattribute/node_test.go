package getcustomerattribute

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func TestWhatIsFetched(t *testing.T) {
	for _, c := range []struct {
		name, config, data string
		wantData           string
		wantMetadata       map[string]string
	}{
		{
			"attributes into metadata; what is absent is skipped", `{"dataMapping":{"${key}":"threshold","none":"x"},"dataToFetch":"ATTRIBUTES","fetchTo":"METADATA"}`,
			`[1]`, `[1]`,
			map[string]string{"key": "limit", "threshold": "20.5"},
		},
		{
			"latest telemetry into the body", `{"dataMapping":{"limit":"$[to]"},"dataToFetch":"LATEST_TELEMETRY","fetchTo":"DATA"}`,
			`{"to":"t"}`, `{"to":"t","t":{"a":1}}`,
			map[string]string{"key": "limit"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			b.Platform()
			customer := b.Customer("C").Entity()
			b.Put(customer, storage.Server, 1, `{"limit":20.5}`)
			b.Put(customer, storage.Shared, 1, `{"none":1}`)
			b.Put(customer, storage.Timeseries, 1, `{"limit":{"a":1}}`)
			got := b.Process(b.Node(Kind(), c.config), b.Message("X", c.data, map[string]string{"key": "limit"})).Emitted
			want := []rulenodetest.Emitted{{
				Relation: rule.Success, Type: "X", Data: c.wantData, Metadata: c.wantMetadata, Originator: b.Device.Entity(),
			}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatFails(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	if why, failed := b.Process(b.Node(Kind(), ""), b.Message("X", `{}`, nil)).Failed(); !failed || !strings.Contains(why, "no customer") {
		t.Errorf("a device without a customer: %q, %v", why, failed)
	}
	b.Customer("C")
	config := `{"dataMapping":{"a":"b"},"dataToFetch":"ATTRIBUTES","fetchTo":"DATA"}`
	if why, failed := b.Process(b.Node(Kind(), config), b.Message("X", `[]`, nil)).Failed(); !failed || !strings.Contains(why, "object") {
		t.Errorf("a body that is no object: %q, %v", why, failed)
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
