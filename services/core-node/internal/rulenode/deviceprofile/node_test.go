package deviceprofile

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// bench has a device whose profile has these alarm rules.
func bench(t *testing.T, alarms string) (*rulenodetest.Bench, rule.Node) {
	t.Helper()
	b := rulenodetest.New(t)
	entities := b.Platform()
	p, err := entities.DeviceProfiles.Default(t.Context(), b.Services.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	p.Body = json.RawMessage(`{"profileData":{"alarms":` + alarms + `}}`)
	if _, err := entities.DeviceProfiles.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return b, b.Node(Kind(), "")
}

// feed handles a message and returns the relations it took, with the severity of alarms.
func feed(t *testing.T, b *rulenodetest.Bench, node rule.Node, id byte, at int64, messageType, data string) string {
	t.Helper()
	in := b.Message(messageType, data, nil)
	in.ID[15], in.Time = id, at
	out := b.Process(node, in)
	if why, failed := out.Failed(); failed {
		t.Fatal(why)
	}
	var took []string
	for i, e := range out.Emitted {
		if e.Again {
			continue
		}
		if e.Relation == rule.Success {
			if i != len(out.Emitted)-1 || e.Type != messageType || e.Data != data {
				t.Errorf("the message went on as %+v", e)
			}
			continue
		}
		var a struct{ Severity string }
		if err := json.Unmarshal([]byte(e.Data), &a); err != nil || e.Type != "ALARM" {
			t.Errorf("%+v: %v", e, err)
		}
		took = append(took, string(e.Relation)+" "+a.Severity)
	}
	return strings.Join(took, ",")
}

const uplink = rule.PostTelemetry

func condition(spec, filters string) string {
	return `{"condition":{"condition":[` + filters + `],"spec":` + spec + `},"schedule":null,"alarmDetails":null}`
}

func numeric(key, operation, value string) string {
	return `{"key":{"type":"TIME_SERIES","key":"` + key + `"},"valueType":"NUMERIC","predicate":{"type":"NUMERIC","operation":"` + operation + `","value":` + value + `}}`
}

func TestA3_SimpleRules(t *testing.T) {
	b, node := bench(t, `[{"id":"1","alarmType":"High","createRules":{
		"WARNING":`+condition(`{"type":"SIMPLE"}`, numeric("t", "GREATER", `{"defaultValue":20}`))+`,
		"CRITICAL":{"condition":{"condition":[`+numeric("t", "GREATER", `{"defaultValue":20,"userValue":40}`)+`]},"alarmDetails":"t is ${t}"}},
		"clearRule":`+condition(`{"type":"SIMPLE"}`, numeric("t", "LESS", `{"defaultValue":10}`))+`}]`)
	for i, c := range []struct{ kind, data, want string }{
		{uplink, `{"t":15}`, ""},
		{uplink, `{"t":25}`, "Alarm Created WARNING"},
		{uplink, `{"t":26}`, "Alarm Updated WARNING"},
		{uplink, `{"u":50}`, ""},
		{rule.PostAttributes, `{"t":50}`, ""},
		{"RPC_SENT", `{"t":50}`, ""},
		{uplink, `{"t":41}`, "Alarm Severity Updated CRITICAL"},
		{uplink, `{"t":25}`, ""}, // it was worse before
		{uplink, `{"t":15}`, ""},
		{uplink, `{"t":"9"}`, "Alarm Cleared CRITICAL"},
		{uplink, `{"t":9}`, ""},
		{uplink, `[1]`, ""},
	} {
		b.Advance(time.Second)
		if got := feed(t, b, node, byte(i), int64(i), c.kind, c.data); got != c.want {
			t.Errorf("%d %s %s: %q, want %q", i, c.kind, c.data, got, c.want)
		}
	}
}

func TestAlarmMessages(t *testing.T) {
	b, node := bench(t, `[{"id":"1","alarmType":"High","propagate":true,"propagateRelationTypes":["Contains"],"createRules":{
		"MAJOR":{"condition":{"condition":[`+numeric("t", "GREATER", `{"defaultValue":20}`)+`]},"alarmDetails":"t is ${t}","dashboardId":{"entityType":"DASHBOARD","id":"d"}}}}]`)
	out := b.Process(node, b.Message(uplink, `{"t":25}`, map[string]string{"k": "v", "ts": "77"}))
	if len(out.Emitted) != 2 || out.Emitted[0].Raised {
		t.Fatalf("%+v", out)
	}
	if diff := cmp.Diff(map[string]string{"k": "v", "ts": "77", "isNewAlarm": "true"}, out.Emitted[0].Metadata); diff != "" {
		t.Error(diff)
	}
	var a struct {
		StartTs   int64
		Details   map[string]string
		Propagate bool
	}
	if err := json.Unmarshal([]byte(out.Emitted[0].Data), &a); err != nil {
		t.Fatal(err)
	}
	if a.StartTs != 77 || a.Details["data"] != "t is 25" || a.Details["dashboardId"] != "d" || !a.Propagate {
		t.Errorf("%+v", a)
	}
}

func TestRulesThatCount(t *testing.T) {
	b, node := bench(t, `[{"id":"1","alarmType":"Often","createRules":{
		"MAJOR":`+condition(`{"type":"REPEATING","predicate":{"defaultValue":3,"dynamicValue":{"sourceType":"CURRENT_DEVICE","sourceAttribute":"times"}}}`, numeric("t", "EQUAL", `{"defaultValue":1}`))+`}}]`)
	b.Put(b.Device.Entity(), storage.Server, 1, `{"times":2}`)
	for i, c := range []struct {
		id         byte
		data, want string
	}{
		{1, `{"t":1}`, ""},
		{1, `{"t":1}`, ""},
		{1, `{"t":1}`, ""}, // one message, handled three times
		{2, `{"t":0}`, ""},
		{3, `{"t":1}`, ""},
		{4, `{"t":1}`, "Alarm Created MAJOR"},
		{4, `{"t":1}`, "Alarm Created MAJOR"},
		{5, `{"t":1}`, "Alarm Updated MAJOR"},
	} {
		b.Advance(time.Second)
		if got := feed(t, b, node, c.id, int64(c.id), uplink, c.data); got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
}

func TestRulesThatMeasureTime(t *testing.T) {
	b, node := bench(t, `[{"id":"1","alarmType":"Long","createRules":{
		"MAJOR":`+condition(`{"type":"DURATION","unit":"SECONDS","predicate":{"defaultValue":10}}`, numeric("t", "GREATER_OR_EQUAL", `{"defaultValue":1}`))+`}}]`)
	for i, c := range []struct {
		at         int64
		data, want string
	}{
		{1000, `{"t":1}`, ""}, {9000, `{"t":2}`, ""}, {10_000, `{"t":0}`, ""}, {11_000, `{"t":1}`, ""}, {21_000, `{"t":1}`, ""}, {21_001, `{"t":1}`, "Alarm Created MAJOR"},
	} {
		if got := feed(t, b, node, byte(i), c.at, uplink, c.data); got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
}

func TestPredicates(t *testing.T) {
	text := func(operation, value, more string) string {
		return `{"key":{"type":"ATTRIBUTE","key":"s"},"predicate":{"type":"STRING","operation":"` + operation + `","value":{"defaultValue":"` + value + `"}` + more + `}}`
	}
	for _, c := range []struct {
		name, filters string
		want          bool
	}{
		{"text", text("STARTS_WITH", "Ab", ""), true},
		{"case", text("EQUAL", "abc", ""), false},
		{"whatever the case", text("EQUAL", "abc", `,"ignoreCase":true`), true},
		{"ends", text("ENDS_WITH", "C", ""), true},
		{"contains", text("CONTAINS", "x", ""), false},
		{"not contains", text("NOT_CONTAINS", "x", ""), true},
		{"not equal", text("NOT_EQUAL", "AbC", ""), false},
		{"in", text("IN", "x, AbC", ""), true},
		{"not in", text("NOT_IN", "x,AbC", ""), false},
		{"boolean", text("EQUAL", "AbC", "") + `,{"key":{"type":"ATTRIBUTE","key":"on"},"predicate":{"type":"BOOLEAN","operation":"EQUAL","value":{"defaultValue":true}}}`, true},
		{"boolean differs", text("EQUAL", "AbC", "") + `,{"key":{"type":"ATTRIBUTE","key":"on"},"predicate":{"type":"BOOLEAN","operation":"NOT_EQUAL","value":{"defaultValue":true}}}`, false},
		{"a key that is not there", text("EQUAL", "AbC", "") + `,` + numeric("none", "LESS", `{"defaultValue":1}`), false},
		{"a constant", text("EQUAL", "AbC", "") + `,{"key":{"type":"CONSTANT","key":"c"},"value":5,"predicate":{"type":"NUMERIC","operation":"NOT_EQUAL","value":{"defaultValue":6}}}`, true},
		{"a field", text("EQUAL", "AbC", "") + `,{"key":{"type":"ENTITY_FIELD","key":"name"},"predicate":{"type":"STRING","operation":"EQUAL","value":{"defaultValue":"Device"}}}`, true},
		{
			"either", `{"key":{"type":"ATTRIBUTE","key":"s"},"predicate":{"type":"COMPLEX","operation":"OR","predicates":[
			{"type":"STRING","operation":"EQUAL","value":{"defaultValue":"x"}},{"type":"STRING","operation":"EQUAL","value":{"defaultValue":"AbC"}}]}}`, true,
		},
		{
			"both", `{"key":{"type":"ATTRIBUTE","key":"s"},"predicate":{"type":"COMPLEX","operation":"AND","predicates":[
			{"type":"STRING","operation":"EQUAL","value":{"defaultValue":"x"}},{"type":"STRING","operation":"EQUAL","value":{"defaultValue":"AbC"}}]}}`, false,
		},
		{"the server's before the device's own", text("EQUAL", "AbC", "") + `,{"key":{"type":"ATTRIBUTE","key":"n"},"predicate":{"type":"NUMERIC","operation":"EQUAL","value":{"defaultValue":2}}}`, true},
		{
			"with the customer's", text("EQUAL", "AbC", "") + `,{"key":{"type":"ATTRIBUTE","key":"n"},"predicate":{"type":"NUMERIC","operation":"LESS_OR_EQUAL","value":{"defaultValue":0,` +
				`"dynamicValue":{"sourceType":"CURRENT_CUSTOMER","sourceAttribute":"limit"}}}}`, true,
		},
		{
			"with the tenant's, inherited", text("EQUAL", "AbC", "") + `,{"key":{"type":"ATTRIBUTE","key":"n"},"predicate":{"type":"NUMERIC","operation":"GREATER","value":{"defaultValue":9,` +
				`"dynamicValue":{"sourceType":"CURRENT_CUSTOMER","sourceAttribute":"low","inherit":true}}}}`, true,
		},
		{
			"with nothing to inherit", text("EQUAL", "AbC", "") + `,{"key":{"type":"ATTRIBUTE","key":"n"},"predicate":{"type":"NUMERIC","operation":"GREATER","value":{"defaultValue":9,` +
				`"dynamicValue":{"sourceType":"CURRENT_CUSTOMER","sourceAttribute":"low"}}}}`, false,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, node := bench(t, `[{"id":"1","alarmType":"T","createRules":{"MAJOR":`+condition(`{"type":"SIMPLE"}`, c.filters)+`}}]`)
			customer := b.Customer("C").Entity()
			b.Put(customer, storage.Server, 1, `{"limit":2}`)
			b.Put(b.Services.Tenant.Entity(), storage.Server, 1, `{"low":1}`)
			b.Put(b.Device.Entity(), storage.Client, 1, `{"n":1}`)
			b.Put(b.Device.Entity(), storage.Server, 1, `{"n":2,"on":true}`)
			got := feed(t, b, node, 1, 1, rule.PostAttributes, `{"s":"AbC"}`)
			if (got == "Alarm Created MAJOR") != c.want || got != "" && !c.want {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestSchedules(t *testing.T) {
	// 15 January 2027 is a Friday; the bench's clock plays no part.
	friday := time.Date(2027, 1, 15, 9, 30, 0, 0, time.UTC).UnixMilli()
	for schedule, want := range map[string]bool{
		`null`: true, `{"type":"ANY_TIME"}`: true,
		`{"type":"SPECIFIC_TIME","timezone":"UTC","daysOfWeek":[5],"startsOn":32400000,"endsOn":36000000}`:            true,
		`{"type":"SPECIFIC_TIME","timezone":"UTC","daysOfWeek":[4],"startsOn":32400000,"endsOn":36000000}`:            false,
		`{"type":"SPECIFIC_TIME","timezone":"Europe/Kiev","daysOfWeek":[5],"startsOn":32400000,"endsOn":36000000}`:    false,
		`{"type":"SPECIFIC_TIME","timezone":"UTC","daysOfWeek":[5],"startsOn":79200000,"endsOn":36000000}`:            true, // over night
		`{"type":"SPECIFIC_TIME","timezone":"UTC","daysOfWeek":[5],"startsOn":3600000,"endsOn":0}`:                    true,
		`{"type":"CUSTOM","timezone":"UTC","items":[{"enabled":true,"dayOfWeek":5,"startsOn":0,"endsOn":36000000}]}`:  true,
		`{"type":"CUSTOM","timezone":"UTC","items":[{"enabled":false,"dayOfWeek":5,"startsOn":0,"endsOn":36000000}]}`: false,
		`{"type":"CUSTOM","timezone":"UTC","items":[{"enabled":true,"dayOfWeek":6,"startsOn":0,"endsOn":36000000}]}`:  false,
	} {
		alarms := `[{"id":"1","alarmType":"T","createRules":{"MAJOR":{"condition":{"condition":[` + numeric("t", "EQUAL", `{"defaultValue":1}`) + `]},"schedule":` + schedule + `}}}]`
		b, node := bench(t, alarms)
		if got := feed(t, b, node, 1, friday, uplink, `{"t":1}`); (got != "") != want {
			t.Errorf("%s: %q", schedule, got)
		}
	}
}

func TestBadRulesFailTheMessage(t *testing.T) {
	for alarms, want := range map[string]string{
		`[{"id":"1","alarmType":"T","createRules":{"BAD":{}}}]`:                                                        "severity",
		`[{"id":"1","alarmType":"T","createRules":{"MAJOR":` + condition(`{"type":"X"}`, "") + `}}]`:                   "condition type",
		`[{"id":"1","alarmType":"T","createRules":{"MAJOR":` + condition(`{"type":"DURATION","unit":"X"}`, "") + `}}]`: "unit",
		`[{"id":"1","alarmType":"T","createRules":{"MAJOR":` + condition(`{}`, `{"key":{"type":"X"}}`) + `}}]`:         "key type",
		`[{"id":"1","alarmType":"T","createRules":{"MAJOR":` + condition(`{}`, `{"key":{"type":"CONSTANT"}}`) + `}}]`:  "predicate type",
		`[{"id":"1","alarmType":"T","createRules":{"MAJOR":{"schedule":{"type":"CUSTOM","timezone":"Moon/Sea"}}}}]`:    "schedule",
		`5`: "device profile",
	} {
		b, node := bench(t, alarms)
		if why, failed := b.Process(node, b.Message(uplink, `{"t":1}`, nil)).Failed(); !failed || !strings.Contains(why, want) {
			t.Errorf("%s: %q, %v", alarms, why, failed)
		}
	}
}

func TestWhatHasNoRulesPasses(t *testing.T) {
	b, node := bench(t, `null`)
	other := b.Message(uplink, `{"t":1}`, nil)
	other.Originator = b.Services.Tenant.Entity()
	for _, in := range []*rule.Message{b.Message(uplink, `{"t":1}`, nil), other} {
		if got := b.Process(node, in).Relations(); len(got) != 1 || got[0] != rule.Success {
			t.Errorf("%v", got)
		}
	}
}

func TestOldConfigurationsAreUpgraded(t *testing.T) {
	for _, c := range []struct {
		from      int
		old, want string
	}{
		{0, `{"persistAlarmRulesState":false,"fetchAlarmRulesStateOnStart":true}`, `{"fetchAlarmRulesStateOnStart":false,"persistAlarmRulesState":false}`},
		{0, `{"persistAlarmRulesState":true,"fetchAlarmRulesStateOnStart":true}`, `{"fetchAlarmRulesStateOnStart":true,"persistAlarmRulesState":true}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
