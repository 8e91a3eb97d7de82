package clearalarm

import (
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

const configured = `{"alarmType":"T","scriptLang":"JS","alarmDetailsBuildJs":"return {};"}`

func TestAnOriginatorThatIsAnAlarmIsCleared(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	b.Scripts.Return("")
	made, err := b.Services.Alarms.CreateOrUpdate(t.Context(), alarm.Request{
		Tenant: b.Services.Tenant, Originator: b.Device.Entity(), Type: "Another", Severity: alarm.Major, Details: []byte(`{"a":1}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	in := b.Message("X", `{}`, nil)
	in.Originator = made.Now.Entity()
	out := b.Process(b.Node(Kind(), configured), in)
	if len(out.Emitted) != 2 || out.Emitted[1].Relation != "Cleared" || out.Emitted[1].Originator != in.Originator || out.Emitted[0].Originator != b.Device.Entity() {
		t.Fatalf("%+v", out.Emitted)
	}
	now, err := b.Services.Alarms.Get(t.Context(), b.Services.Tenant, made.Now.ID)
	if err != nil || !now.Cleared || now.Details != nil {
		t.Errorf("%+v, %v", now, err)
	}
	if calls := b.Scripts.Calls(); len(calls) != 1 || calls[0][1] != `{"prevAlarmDetails":"{\"a\":1}"}` {
		t.Errorf("the script was called with %q", calls)
	}
}

func TestNothingToClearIsFalse(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	in := b.Message("X", `{}`, nil)
	gone := b.Message("X", `{}`, nil)
	gone.Originator = alarm.Alarm{ID: b.Device.ID}.Entity()
	for _, m := range []*rule.Message{in, gone} {
		out := b.Process(b.Node(Kind(), configured), m)
		if len(out.Emitted) != 1 || out.Emitted[0].Relation != rule.False || out.Emitted[0].Type != "X" {
			t.Errorf("%+v", out.Emitted)
		}
	}
	if len(b.Scripts.Calls()) != 0 {
		t.Error("the script was called")
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{`{"alarmDetailsBuildJs":"return 1;"}`: "alarmType", `{"alarmType":"T"}`: "alarmDetailsBuildJs"} {
		if _, err := b.New(Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}
