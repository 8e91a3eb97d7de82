package saveattributes

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func TestWhatIsSaved(t *testing.T) {
	one := []telemetry.KeyValue{{Key: "a", Value: telemetry.OfLong(1)}}
	for _, c := range []struct {
		name, config        string
		metadata            rule.Metadata
		scope               storage.Scope
		onlyChanged, notify bool
	}{
		{"of the default chain", `{"scope":"CLIENT_SCOPE","updateAttributesOnlyOnValueChange":true}`, rule.Metadata{NotifyOff: true}, storage.Client, true, false},
		{"nobody says not to notify", `{"scope":"SHARED_SCOPE"}`, rule.Metadata{}, storage.Shared, false, true},
		{"the configuration notifies", `{"scope":"SHARED_SCOPE","notifyDevice":true}`, rule.Metadata{NotifyOff: true}, storage.Shared, false, true},
		{"scope of the metadata", `{"scope":"SHARED_SCOPE"}`, rule.Metadata{NotifyOff: true}.With("scope", "SERVER_SCOPE"), storage.Server, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			node, err := Kind().New(json.RawMessage(c.config), rule.Services{})
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range []rule.Body{rule.BodyOf(one), rule.TextBody(`{"a":1}`)} {
				turn, in := &rule.Turn{}, &rule.Message{Type: rule.PostAttributes, Time: 5, Metadata: c.metadata, Body: body}
				if err := node.Process(t.Context(), in, turn); err != nil {
					t.Fatal(err)
				}
				s := turn.Saves()[0]
				if s.Scope != c.scope || s.OnlyChanged != c.onlyChanged || s.Notify != c.notify || s.Time != 5 {
					t.Errorf("it saves %+v", s)
				}
				if diff := cmp.Diff(one, s.Values, cmp.AllowUnexported(telemetry.Value{})); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestNothingIsASuccess(t *testing.T) {
	node, err := Kind().New(Kind().Default, rule.Services{})
	if err != nil {
		t.Fatal(err)
	}
	turn := &rule.Turn{}
	if err := node.Process(t.Context(), &rule.Message{Type: rule.PostAttributes, Body: rule.TextBody(`{}`)}, turn); err != nil {
		t.Fatal(err)
	}
	if len(turn.Saves()) != 0 || turn.Emissions()[0].Relation != rule.Success {
		t.Errorf("saves %v, emits %v", turn.Saves(), turn.Emissions())
	}
}

func TestWhatFails(t *testing.T) {
	node, err := Kind().New(Kind().Default, rule.Services{})
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]rule.Message{
		"another type": {Type: rule.PostTelemetry, Body: rule.TextBody(`{"a":1}`)},
		"an array":     {Type: rule.PostAttributes, Body: rule.TextBody(`[1]`)},
		"a bad scope":  {Type: rule.PostAttributes, Metadata: rule.Metadata{}.With("scope", "MINE"), Body: rule.TextBody(`{"a":1}`)},
	} {
		if err := node.Process(t.Context(), &in, &rule.Turn{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	for config, field := range map[string]string{
		`{}`: "scope", `{"scope":"ALL"}`: "scope", `{"scope":"CLIENT_SCOPE","processingSettings":{"type":"x"}}`: "processingSettings.type",
	} {
		if _, err := Kind().New(json.RawMessage(config), rule.Services{}); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}

func TestOldConfigurationsAreUpgraded(t *testing.T) {
	for _, c := range []struct {
		from         int
		config, want string
	}{
		{0, `{"scope":"CLIENT_SCOPE"}`, `{"scope":"CLIENT_SCOPE","updateAttributesOnlyOnValueChange":false,"notifyDevice":true,"sendAttributesUpdatedNotification":false,"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`}, // A2
		{1, `{"notifyDevice":"false","updateAttributesOnlyOnValueChange":"true"}`, `{"notifyDevice":false,"updateAttributesOnlyOnValueChange":true,"sendAttributesUpdatedNotification":false,"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`},
		{2, `{"notifyDevice":false}`, `{"notifyDevice":false,"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`},
	} {
		var got, want map[string]any
		if err := errors.Join(json.Unmarshal([]byte(c.config), &got), json.Unmarshal([]byte(c.want), &want)); err != nil {
			t.Fatal(err)
		}
		Kind().Upgrade(c.from, got, nil)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("from %d: %s", c.from, diff)
		}
	}
}

func TestChangesAreAnnounced(t *testing.T) {
	const announcing = `"sendAttributesUpdatedNotification":true,"updateAttributesOnlyOnValueChange":`
	for _, c := range []struct {
		name, config, scope, saved, event string
	}{
		{"A12 only what changed", `{"scope":"SERVER_SCOPE",` + announcing + `true}`, "", `{"b":2,"c":3}`, `{"b":2,"c":3}`},
		{"everything", `{"scope":"SHARED_SCOPE",` + announcing + `false}`, "", `{"a":1,"b":2,"c":3}`, `{"a":1,"b":2,"c":3}`},
		{"not of the device's own", `{"scope":"SHARED_SCOPE",` + announcing + `true}`, "CLIENT_SCOPE", `{"a":1,"b":2,"c":3}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			b.Platform()
			b.Put(b.Device.Entity(), storage.Server, 5, `{"a":1,"b":9}`)
			metadata := map[string]string{"scope": c.scope}
			node := b.Node(Kind(), c.config)
			first, again := &rule.Turn{}, &rule.Turn{}
			for _, turn := range []*rule.Turn{first, again} {
				if err := node.Process(t.Context(), b.Message(rule.PostAttributes, `{"a":1,"b":2,"c":3}`, metadata), turn); err != nil {
					t.Fatal(err)
				}
				for _, s := range turn.Saves() { // what the partition does
					s.Stamp = s.Time * 1000
					if err := b.Store.Write(t.Context(), []storage.Write{s.Write}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if diff := cmp.Diff(rulenodetest.OutcomeOf(first), rulenodetest.OutcomeOf(again)); diff != "" {
				t.Errorf("handled again: %s", diff)
			}
			out := rulenodetest.OutcomeOf(first)
			if len(out.Saved) != 1 || out.Saved[0].Values != c.saved {
				t.Errorf("saved %+v", out.Saved)
			}
			if c.event == "" {
				if len(out.Emitted) != 1 {
					t.Errorf("emitted %+v", out.Emitted)
				}
				return
			}
			event := out.Emitted[0]
			if !event.Raised || event.Type != rule.AttributesUpdated || event.Data != c.event || event.Metadata["scope"] == "" || event.Originator != b.Device.Entity() {
				t.Errorf("raised %+v", event)
			}
			if first.Emissions()[0].Message.ID != again.Emissions()[0].Message.ID {
				t.Error("handled again it is another event")
			}
			later := b.Message(rule.PostAttributes, `{"a":1,"b":2,"c":3}`, metadata)
			later.Time++
			if out := b.Process(node, later); c.config[10:22] == "SERVER_SCOPE" && (len(out.Saved) != 0 || len(out.Emitted) != 1) {
				t.Errorf("nothing changed: %+v", out)
			}
		})
	}
}

func TestWhatIsDoneWithAMessage(t *testing.T) {
	for settings, want := range map[string][]rulenodetest.Saved{
		`{"type":"WEBSOCKETS_ONLY"}`: {{Values: `{"a":1}`, LiveOnly: true}},
		`{"type":"ADVANCED","attributes":{"type":"SKIP"},"webSockets":{"type":"SKIP"},"calculatedFields":{"type":"ON_EVERY_MESSAGE"}}`: nil,
		`{"type":"ADVANCED","attributes":{"type":"DEDUPLICATE","deduplicationIntervalSecs":1},"webSockets":{"type":"SKIP"}}`:           {{Values: `{"a":1}`, Silent: true}},
	} {
		b := rulenodetest.New(t)
		out := b.Process(b.Node(Kind(), `{"scope":"CLIENT_SCOPE","processingSettings":`+settings+`}`), b.Message(rule.PostAttributes, `{"a":1}`, map[string]string{"notifyDevice": "false"}))
		for i := range want {
			want[i].Entity, want[i].Scope, want[i].Time = b.Device.Entity(), storage.Client, rulenodetest.NowMillis
		}
		if diff := cmp.Diff(want, out.Saved); diff != "" || len(out.Emitted) != 1 {
			t.Errorf("%s: emitted %v, %s", settings, out.Emitted, diff)
		}
	}
}

func TestOnlyWhoComparesWaits(t *testing.T) {
	for config, want := range map[string]rule.Waits{
		`{"scope":"CLIENT_SCOPE","updateAttributesOnlyOnValueChange":true}`:                                          rule.ForNothing,
		`{"scope":"CLIENT_SCOPE","updateAttributesOnlyOnValueChange":true,"sendAttributesUpdatedNotification":true}`: rule.ForStore,
	} {
		node, err := Kind().New(json.RawMessage(config), rule.Services{})
		if err != nil {
			t.Fatal(err)
		}
		if got := node.(rule.Waiter).Waits(); got != want {
			t.Errorf("%s waits for %d", config, got)
		}
	}
}
