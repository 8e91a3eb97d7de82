package renamekeys

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestWhatIsRenamed(t *testing.T) {
	for _, c := range []struct {
		name, config, data string
		metadata           map[string]string
		wantData           string
		wantMetadata       map[string]string
	}{
		{
			"in the body, in place", `{"renameIn":"DATA","renameKeysMapping":{"temperatureCelsius":"temperature","none":"x"}}`,
			`{"temperatureCelsius":21.50,"b":1}`,
			map[string]string{"temperatureCelsius": "1"},
			`{"temperature":21.50,"b":1}`,
			map[string]string{"temperatureCelsius": "1"},
		},
		{"a new name wins", `{"renameIn":"DATA","renameKeysMapping":{"a":"b"}}`, `{"a":1,"b":2}`, nil, `{"b":1}`, nil},
		{"two change places", `{"renameIn":"DATA","renameKeysMapping":{"a":"b","b":"a"}}`, `{"a":1,"b":2}`, nil, `{"b":1,"a":2}`, nil},
		{
			"in metadata", `{"renameIn":"METADATA","renameKeysMapping":{"deviceName":"name","none":"x"}}`, `{"deviceName":1}`,
			map[string]string{"deviceName": "D", "k": "v"},
			`{"deviceName":1}`,
			map[string]string{"name": "D", "k": "v"},
		},
		{"a body that is no object is left alone", `{"renameIn":"DATA","renameKeysMapping":{"a":"b"}}`, `["a"]`, nil, `["a"]`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			if c.wantMetadata == nil {
				c.wantMetadata = map[string]string{}
			}
			got := b.Process(b.Node(Kind(), c.config), b.Message("X", c.data, c.metadata)).Emitted
			want := []rulenodetest.Emitted{{
				Relation: rule.Success, Type: "X", Data: c.wantData, Metadata: c.wantMetadata, Originator: b.Device.Entity(),
			}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"renameKeysMapping":{"a":"b"}}`: "renameIn", `{"renameIn":"DATA","renameKeysMapping":{}}`: "renameKeysMapping",
		`{"renameIn":"DATA","renameKeysMapping":{"a":""}}`: "renameKeysMapping",
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
		{0, `{"fromMetadata":"true"}`, `{"renameIn":"METADATA"}`},
		{0, `{"fromMetadata":"false"}`, `{"renameIn":"DATA"}`},
		{1, `{"fromMetadata":true,"renameIn":"DATA"}`, `{"renameIn":"DATA"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
