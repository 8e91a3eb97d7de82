package copykeys

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestWhatIsCopied(t *testing.T) {
	for _, c := range []struct {
		name, config, data string
		metadata           map[string]string
		wantData           string
		wantMetadata       map[string]string
	}{
		{
			"body to metadata, as text", `{"copyFrom":"DATA","keys":["t.*","o","none"]}`,
			`{"temp":21.5,"text":"x","o":{"a":[1]},"left":1,"at":2}`,
			map[string]string{"k": "v"},
			`{"temp":21.5,"text":"x","o":{"a":[1]},"left":1,"at":2}`,
			map[string]string{"k": "v", "temp": "21.5", "text": "x", "o": `{"a":[1]}`},
		},
		{
			"metadata to body, as strings", `{"copyFrom":"METADATA","keys":["k\\d"]}`, `{"a":1,"k1":5}`,
			map[string]string{"k1": "v", "k2": "7", "xk1": "no"},
			`{"a":1,"k1":"v","k2":"7"}`,
			map[string]string{"k1": "v", "k2": "7", "xk1": "no"},
		},
		{"a body that is no object is left alone", `{"copyFrom":"METADATA","keys":["k"]}`, `[1]`, map[string]string{"k": "v"}, `[1]`, map[string]string{"k": "v"}},
		{"nothing to copy", `{"copyFrom":"METADATA","keys":[]}`, `{ "a":1 }`, map[string]string{"k": "v"}, `{ "a":1 }`, map[string]string{"k": "v"}},
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

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"keys":[]}`: "copyFrom", `{"copyFrom":"DATA","keys":[""]}`: "keys[0]", `{"copyFrom":"DATA","keys":["a","(?=b)"]}`: "keys[1]",
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
		{0, `{"fromMetadata":"true","keys":["a"]}`, `{"copyFrom":"METADATA","keys":["a"]}`},
		{0, `{"fromMetadata":false,"keys":["a"]}`, `{"copyFrom":"DATA","keys":["a"]}`},
		{1, `{"copyFrom":"METADATA","fromMetadata":false}`, `{"copyFrom":"METADATA"}`},
		{1, `{"fromMetadata":true}`, `{"copyFrom":"METADATA"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
