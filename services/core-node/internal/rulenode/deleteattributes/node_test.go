package deleteattributes

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func TestWhatIsDeleted(t *testing.T) {
	for _, c := range []struct {
		name, config string
		metadata     map[string]string
		scope        storage.Scope
		notify       bool
		event        string
	}{
		{"of the server", `{"scope":"SERVER_SCOPE","keys":["a","${which}"]}`, map[string]string{"which": "b", "notifyDevice": "false"}, storage.Server, false, ""},
		{
			"shared, with everybody told", `{"scope":"SHARED_SCOPE","keys":["a","b"],"sendAttributesDeletedNotification":true,"notifyDevice":true}`,
			map[string]string{"notifyDevice": "false"},
			storage.Shared, true, `{"attributes":["a","b"]}`,
		},
		{
			"the scope of the metadata", `{"scope":"SHARED_SCOPE","keys":["a","b"],"sendAttributesDeletedNotification":true}`,
			map[string]string{"scope": "CLIENT_SCOPE"},
			storage.Client, true, "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			b.Platform()
			device := b.Device.Entity()
			for _, scope := range []storage.Scope{storage.Client, storage.Shared, storage.Server} {
				b.Put(device, scope, 1, `{"a":1,"b":2,"c":3}`)
			}
			turn := &rule.Turn{}
			if err := b.Node(Kind(), c.config).Process(t.Context(), b.Message("X", `{}`, c.metadata), turn); err != nil {
				t.Fatal(err)
			}
			for _, scope := range []storage.Scope{storage.Client, storage.Shared, storage.Server} {
				left, err := b.Store.Attributes(t.Context(), device, scope, nil)
				want := 3
				if scope == c.scope {
					want = 1
				}
				if err != nil || len(left) != want {
					t.Errorf("scope %d has %v, %v", scope, left, err)
				}
			}
			d := turn.Deletions()
			if len(d) != 1 || d[0].Entity != device || d[0].Scope != c.scope || d[0].Notify != c.notify {
				t.Fatalf("told of %+v", d)
			}
			if diff := cmp.Diff([]string{"a", "b"}, d[0].Keys); diff != "" {
				t.Error(diff)
			}
			out := rulenodetest.OutcomeOf(turn).Emitted
			if last := out[len(out)-1]; last.Relation != rule.Success || last.Type != "X" {
				t.Errorf("%+v", out)
			}
			if (c.event != "") != (len(out) == 2) || c.event != "" && (out[0].Data != c.event || out[0].Type != rule.AttributesDeleted || !out[0].Raised) {
				t.Errorf("raised %+v", out)
			}
		})
	}
}

func TestNothingIsASuccess(t *testing.T) {
	b := rulenodetest.New(t)
	turn := &rule.Turn{}
	if err := b.Node(Kind(), "").Process(t.Context(), b.Message("X", `{}`, nil), turn); err != nil {
		t.Fatal(err)
	}
	if len(turn.Deletions()) != 0 || len(turn.Emissions()) != 1 {
		t.Errorf("%+v", turn)
	}
	bad := b.Message("X", `{}`, map[string]string{"scope": "MINE"})
	if why, failed := b.Process(b.Node(Kind(), ""), bad).Failed(); !failed || !strings.Contains(why, "scope") {
		t.Errorf("%q, %v", why, failed)
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"keys":[]}`: "scope",
	} {
		if _, err := b.New(Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}
