package saveattributes

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
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
	unbuilt := `{"scope":"SERVER_SCOPE","sendAttributesUpdatedNotification":true}`
	if _, err := Kind().New(json.RawMessage(unbuilt), rule.Services{}); !errors.Is(err, rule.ErrNotStartable) {
		t.Errorf("%s: %v", unbuilt, err)
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
		Kind().Upgrade(c.from, got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("from %d: %s", c.from, diff)
		}
	}
}
