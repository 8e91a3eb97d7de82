package system

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// profileFirst is a chain of 3.2 to 4.2 in short: alarm rules, then the store.
const profileFirst = `{"ruleChain":{"name":"Alarm rules","type":"CORE","root":false,"debugMode":false},"metadata":{"firstNodeIndex":0,"nodes":[
	{"type":"org.thingsboard.rule.engine.profile.TbDeviceProfileNode","name":"rules","configurationVersion":1,
		"configuration":{"persistAlarmRulesState":true,"fetchAlarmRulesStateOnStart":true}},
	{"type":"org.thingsboard.rule.engine.telemetry.TbMsgTimeseriesNode","name":"save","configurationVersion":0,"configuration":{"defaultTTL":0}}],
	"connections":[{"fromIndex":0,"toIndex":1,"type":"Success"}]}}`

// longTime is how long it must be hot: longer than it takes to start again.
const longTime = 8 * time.Second

// hotRules raise an alarm at the sixth hot reading in a row, and one when it has been hot for long.
func hotRules() []map[string]any {
	hot := []map[string]any{{
		"key": map[string]any{"type": "TIME_SERIES", "key": "t"}, "valueType": "NUMERIC",
		"predicate": map[string]any{"type": "NUMERIC", "operation": "GREATER", "value": map[string]any{"defaultValue": 50}},
	}}
	rule := func(kind string, spec map[string]any) map[string]any {
		return map[string]any{
			"id": kind, "alarmType": kind,
			"createRules": map[string]any{"MAJOR": map[string]any{"condition": map[string]any{"condition": hot, "spec": spec}}},
		}
	}
	return []map[string]any{
		rule("Often", map[string]any{"type": "REPEATING", "predicate": map[string]any{"defaultValue": 6}}),
		rule("Long", map[string]any{"type": "DURATION", "unit": "SECONDS", "predicate": map[string]any{"defaultValue": int(longTime / time.Second)}}),
	}
}

// ruleAlarms gives the tenant's default device profile alarm rules.
func (t *Tenant) ruleAlarms(ctx context.Context, alarms []map[string]any) error {
	var info struct{ ID ref }
	if err := t.call(ctx, http.MethodGet, "/api/deviceProfileInfo/default", nil, &info); err != nil {
		return err
	}
	var profile map[string]any
	if err := t.call(ctx, http.MethodGet, "/api/deviceProfile/"+info.ID.ID, nil, &profile); err != nil {
		return err
	}
	data, ok := profile["profileData"].(map[string]any)
	if !ok {
		return fmt.Errorf("the default device profile has no data: %v", profile)
	}
	data["alarms"] = alarms
	return t.call(ctx, http.MethodPost, "/api/deviceProfile", profile, nil)
}

// TestAlarmRulesOutliveAKill kills the platform between hot readings, the last acknowledged a moment before: each counts once, and
// how long it has been hot goes on.
func TestAlarmRulesOutliveAKill(t *testing.T) {
	ctx, platform, tenant := startPlatform(t)
	t.Cleanup(func() { leaveNothing(t, platform, tenant) })
	if err := tenant.UseChain(ctx, []byte(profileFirst)); err != nil {
		t.Fatal(err)
	}
	if err := tenant.ruleAlarms(ctx, hotRules()); err != nil {
		t.Fatal(err)
	}
	token := unique("OVEN")
	device, err := tenant.NewDevice(ctx, "oven", token)
	if err != nil {
		t.Fatal(err)
	}
	hot := func() {
		t.Helper()
		response, err := http.Post("http://"+platform.Doors().HTTP+"/api/v1/"+token+"/telemetry", "application/json", strings.NewReader(`{"t":60}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close() // only its status is wanted
		if response.StatusCode != http.StatusOK {
			t.Fatalf("a reading was answered with %s", response.Status)
		}
	}
	raised := func(want ...string) error {
		alarms, err := tenant.Alarms(ctx, ref{EntityType: "DEVICE", ID: device})
		var kinds []string
		for _, a := range alarms {
			kinds = append(kinds, a.Type)
		}
		if err == nil && !slices.Equal(kinds, want) {
			err = fmt.Errorf("alarms %q, want %q", kinds, want)
		}
		return err
	}
	began := time.Now()
	for n := range 5 {
		hot()
		if n == 1 || n == 4 {
			platform.Kill()
			if err := platform.Start(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(ctx, t, 30*time.Second, func() error { return raised("Long") })
	if took := time.Since(began); took < longTime {
		t.Errorf("it had been hot for %v", took)
	}
	rows, err := tenant.Rows(ctx, device, "t")
	if err != nil || len(rows) != 5 {
		t.Errorf("%d readings are stored, %v", len(rows), err)
	}
	hot()
	eventually(ctx, t, 10*time.Second, func() error { return raised("Long", "Often") })
	t.Logf("it had been hot for %v when the alarm was seen, %d readings", time.Since(began).Round(100*time.Millisecond), len(rows)+1)
	awaitFates(ctx, t, platform)
}
