package deletekeys

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestWhatIsDeleted(t *testing.T) {
	for _, c := range []struct {
		name, config, data string
		metadata           map[string]string
		wantData           string
		wantMetadata       map[string]string
	}{
		{"of the body", `{"deleteFrom":"DATA","keys":["a.*","c"]}`, `{"ab":1,"ba":2,"c":3}`, map[string]string{"c": "1"}, `{"ba":2}`, map[string]string{"c": "1"}},
		{"of metadata", `{"deleteFrom":"METADATA","keys":["ts","k"]}`, `{"k":1}`, map[string]string{"ts": "1", "k": "2", "kk": "3"}, `{"k":1}`, map[string]string{"kk": "3"}},
		{"nothing matches", `{"deleteFrom":"DATA","keys":["x"]}`, `{ "a":1}`, map[string]string{}, `{ "a":1}`, map[string]string{}},
		{"a body that is no object is left alone", `{"deleteFrom":"DATA","keys":[".*"]}`, `"a"`, map[string]string{}, `"a"`, map[string]string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
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

func TestTypedMetadataIsDeleted(t *testing.T) {
	b := rulenodetest.New(t)
	in := b.Message("X", `{}`, nil)
	in.Metadata = rule.Metadata{DeviceName: "D", DeviceType: "T", HasTs: true, Ts: 5}
	got := b.Process(b.Node(Kind(), `{"deleteFrom":"METADATA","keys":["ts","deviceName"]}`), in).Emitted[0].Metadata
	if diff := cmp.Diff(map[string]string{"deviceType": "T"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{`{"deleteFrom":"X"}`: "deleteFrom", `{"deleteFrom":"DATA","keys":["("]}`: "keys[0]"} {
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
		{0, `{"fromMetadata":true,"keys":[]}`, `{"deleteFrom":"METADATA","keys":[]}`},
		{0, `{"fromMetadata":"false"}`, `{"deleteFrom":"DATA"}`},
		{1, `{"dataToFetch":"METADATA"}`, `{"deleteFrom":"METADATA"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
