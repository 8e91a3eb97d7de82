package getattributes

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

const chosen = `"clientAttributeNames":["c","${which}"],"sharedAttributeNames":["s"],"serverAttributeNames":["v"],"latestTsKeyNames":["t","j"]`

func bench(t *testing.T) *rulenodetest.Bench {
	b := rulenodetest.New(t)
	b.Platform()
	device := b.Device.Entity()
	b.Put(device, storage.Client, 1, `{"c":1,"d":2.5,"other":1}`)
	b.Put(device, storage.Shared, 1, `{"s":"text"}`)
	b.Put(device, storage.Server, 1, `{"v":true}`)
	b.Put(device, storage.Timeseries, 7, `{"t":21.5,"j":{"a":[1]}}`)
	return b
}

func TestWhatIsFetched(t *testing.T) {
	for _, c := range []struct {
		name, config, data string
		wantData           string
		wantMetadata       map[string]string
	}{
		{
			"into metadata", `"fetchTo":"METADATA"`, `[1]`, `[1]`,
			map[string]string{"which": "d", "cs_c": "1", "cs_d": "2.5", "shared_s": "text", "ss_v": "true", "t": "21.5", "j": `{"a":[1]}`},
		},
		{
			"into the body", `"fetchTo":"DATA"`, `{"x":0}`,
			`{"x":0,"cs_c":1,"cs_d":2.5,"shared_s":"text","ss_v":true,"t":21.5,"j":{"a":[1]}}`,
			map[string]string{"which": "d"},
		},
		{
			"with times into metadata, names bare", `"fetchTo":"METADATA","getLatestValueWithTs":true`, `{}`, `{}`,
			map[string]string{"which": "d", "cs_c": "1", "cs_d": "2.5", "shared_s": "text", "ss_v": "true", "t": `{ts:7,value:21.5}`, "j": `{ts:7,value:{a:[1]}}`},
		},
		{
			"with times into the body", `"fetchTo":"DATA","getLatestValueWithTs":true`, `{}`,
			`{"cs_c":1,"cs_d":2.5,"shared_s":"text","ss_v":true,"t":{"ts":7,"value":21.5},"j":{"ts":7,"value":{"a":[1]}}}`,
			map[string]string{"which": "d"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bench(t)
			got := b.Process(b.Node(Kind(), `{`+chosen+`,"tellFailureIfAbsent":true,`+c.config+`}`), b.Message("X", c.data, map[string]string{"which": "d"})).Emitted
			want := []rulenodetest.Emitted{{
				Relation: rule.Success, Type: "X", Data: c.wantData, Metadata: c.wantMetadata, Originator: b.Device.Entity(),
			}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestA26_AbsentKeysFailWithWhatThereIs(t *testing.T) {
	b := bench(t)
	const config = `{"clientAttributeNames":["c","none"],"latestTsKeyNames":["gone"],"fetchTo":"METADATA","tellFailureIfAbsent":`
	got := b.Process(b.Node(Kind(), config+`true}`), b.Message("X", `{}`, nil)).Emitted[0]
	if got.Relation != rule.Failure || !strings.Contains(got.Err, "none") || !strings.Contains(got.Err, "gone") {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff(map[string]string{"cs_c": "1"}, got.Metadata); diff != "" {
		t.Error(diff)
	}
	got = b.Process(b.Node(Kind(), config+`false}`), b.Message("X", `{}`, nil)).Emitted[0]
	if got.Relation != rule.Success || got.Metadata["cs_c"] != "1" {
		t.Errorf("%+v", got)
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"fetchTo":"X"}`: "fetchTo",
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
		{0, `{"fetchToData":true}`, `{"fetchTo":"DATA"}`},
		{0, `{"fetchToData":false}`, `{"fetchTo":"METADATA"}`},
		{0, `{}`, `{"fetchTo":"METADATA"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
