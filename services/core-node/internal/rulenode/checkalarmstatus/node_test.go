package checkalarmstatus

import (
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestTheStoredStatusCounts(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	made, err := b.Services.Alarms.CreateOrUpdate(t.Context(), alarm.Request{
		Tenant: b.Services.Tenant, Originator: b.Device.Entity(), Type: "T", Severity: alarm.Major,
	})
	if err != nil {
		t.Fatal(err)
	}
	body := made.Now.Text()
	ask := func(config string) rule.Relation {
		t.Helper()
		out := b.Process(b.Node(Kind(), config), b.Message("ALARM", body, nil))
		if len(out.Emitted) != 1 {
			t.Fatalf("%+v", out)
		}
		return out.Emitted[0].Relation
	}
	if got := ask(""); got != rule.True {
		t.Errorf("active: %s", got)
	}
	if _, err := b.Services.Alarms.Clear(t.Context(), b.Services.Tenant, made.Now.ID, 0, nil); err != nil {
		t.Fatal(err)
	}
	if got := ask(""); got != rule.False {
		t.Errorf("cleared, the body says active: %s", got)
	}
	if got := ask(`{"alarmStatusList":["CLEARED_UNACK"]}`); got != rule.True {
		t.Errorf("cleared and asked for: %s", got)
	}
}

func TestWhatFails(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	for data, want := range map[string]string{
		`hello`: "body", `{"id":"x"}`: "body", `{"id":{"entityType":"ALARM","id":"784f394c-42b6-435a-983c-b7beff2784f9"}}`: "find the alarm",
	} {
		if why, failed := b.Process(b.Node(Kind(), ""), b.Message("ALARM", data, nil)).Failed(); !failed || !strings.Contains(why, want) {
			t.Errorf("%s: %q, %v", data, why, failed)
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{`{}`: "alarmStatusList", `{"alarmStatusList":["X"]}`: "alarmStatusList[0]"} {
		if _, err := b.New(Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}
