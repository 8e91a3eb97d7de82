package createalarm_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/clearalarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/createalarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

const script = `"scriptLang":"JS","alarmDetailsBuildJs":"return {};"`

func bench(t *testing.T) *rulenodetest.Bench {
	b := rulenodetest.New(t)
	b.Platform()
	b.Scripts.Return(`{"count":1}`)
	return b
}

// read decodes an alarm.
func read(t *testing.T, text string) (a struct {
	Type, Severity, Status string
	StartTs, EndTs         int64
	Details                json.RawMessage
	ID, Originator         struct{ ID string }
	Propagate              bool
},
) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// told checks that a node raised an event and then sent an alarm on, and returns both.
func told(t *testing.T, out rulenodetest.Outcome, event string, relation rule.Relation, flag string) (raised, onward rulenodetest.Emitted) {
	t.Helper()
	if len(out.Emitted) != 2 {
		t.Fatalf("it made %+v", out.Emitted)
	}
	raised, onward = out.Emitted[0], out.Emitted[1]
	if !raised.Raised || raised.Type != event || raised.Data != onward.Data || raised.Metadata["ruleNodeId"] == "" {
		t.Errorf("it raised %+v, want %s", raised, event)
	}
	if onward.Relation != relation || onward.Type != "ALARM" || onward.Metadata[flag] != "true" || onward.Metadata["k"] != "v" {
		t.Errorf("it sent on %+v, want it along %s with %s", onward, relation, flag)
	}
	return raised, onward
}

func TestA25_CreateUpdateClear(t *testing.T) {
	b := bench(t)
	node := b.Node(createalarm.Kind(), `{"alarmType":"High $[of]","severity":"${severity}",`+script+`}`)
	clearing := b.Node(clearalarm.Kind(), `{"alarmType":"High temperature",`+script+`}`)
	step := func(node rule.Node, severity string) rulenodetest.Outcome {
		b.Advance(time.Second)
		m := b.Message("X", `{"of":"temperature"}`, map[string]string{"severity": severity, "k": "v", "ts": "5"})
		m.ID[15]++
		m.Time += int64(len(severity)) // another message
		return b.Process(node, m)
	}
	_, out := told(t, step(node, "minor"), "ENTITY_CREATED", "Created", "isNewAlarm")
	first := read(t, out.Data)
	if first.Type != "High temperature" || first.Severity != "MINOR" || first.StartTs != 5 || first.EndTs != 5 || first.Status != "ACTIVE_UNACK" ||
		string(first.Details) != `{"count":1}` || first.Originator.ID != b.Device.String() {
		t.Errorf("created: %+v", first)
	}
	_, out = told(t, step(node, "minor"), "ENTITY_UPDATED", "Updated", "isExistingAlarm")
	if second := read(t, out.Data); second.ID != first.ID || second.EndTs != rulenodetest.NowMillis+2000 || second.StartTs != 5 {
		t.Errorf("updated: %+v", second)
	}
	_, out = told(t, step(node, "CRITICAL"), "ENTITY_UPDATED", "Updated", "isExistingAlarm")
	if third := read(t, out.Data); third.ID != first.ID || third.Severity != "CRITICAL" {
		t.Errorf("severity updated: %+v", third)
	}
	_, out = told(t, step(clearing, ""), "ALARM_CLEAR", "Cleared", "isClearedAlarm")
	if last := read(t, out.Data); last.ID != first.ID || last.Status != "CLEARED_UNACK" {
		t.Errorf("cleared: %+v", last)
	}
	again := step(clearing, "again")
	if len(again.Emitted) != 1 || again.Emitted[0].Relation != rule.False || again.Emitted[0].Type != "X" || again.Emitted[0].Data != `{"of":"temperature"}` {
		t.Errorf("cleared again: %+v", again)
	}
}

func TestTheSameMessageMakesOneAlarm(t *testing.T) {
	b := bench(t)
	node := b.Node(createalarm.Kind(), `{"alarmType":"T","severity":"MAJOR",`+script+`}`)
	clearing := b.Node(clearalarm.Kind(), `{"alarmType":"T",`+script+`}`)
	in := b.Message("X", `{}`, map[string]string{"k": "v"})
	turns := make([]*rule.Turn, 4)
	for i, n := range []rule.Node{node, node, clearing, clearing} {
		turns[i] = &rule.Turn{}
		b.Advance(time.Second)
		if err := n.Process(t.Context(), in, turns[i]); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range map[int]struct {
		event    string
		relation rule.Relation
		flag     string
	}{0: {"ENTITY_CREATED", "Created", "isNewAlarm"}, 2: {"ALARM_CLEAR", "Cleared", "isClearedAlarm"}} {
		told(t, rulenodetest.OutcomeOf(turns[i]), want.event, want.relation, want.flag)
		told(t, rulenodetest.OutcomeOf(turns[i+1]), want.event, want.relation, want.flag)
		was, is := turns[i].Emissions(), turns[i+1].Emissions()
		if was[0].Message.ID != is[0].Message.ID || was[1].Message.Body.Text() != is[1].Message.Body.Text() {
			t.Errorf("%s: the second time it is another event, or another alarm", want.event)
		}
	}
	// Created again after it was cleared: the same alarm still.
	turn := &rule.Turn{}
	if err := node.Process(t.Context(), in, turn); err != nil {
		t.Fatal(err)
	}
	if out := rulenodetest.OutcomeOf(turn); read(t, out.Emitted[1].Data).ID != read(t, turns[0].Emissions()[1].Message.Body.Text()).ID {
		t.Error("there is a second alarm")
	}
}

func TestB18_TheScriptSeesThePreviousDetails(t *testing.T) {
	b := bench(t)
	node := b.Node(createalarm.Kind(), `{"alarmType":"T","severity":"MAJOR",`+script+`}`)
	for i := range 2 {
		in := b.Message("X", `{"a":1}`, nil)
		in.Index = i
		if why, failed := b.Process(node, in).Failed(); failed {
			t.Fatal(why)
		}
	}
	calls := b.Scripts.Calls()
	if len(calls) != 2 || calls[0][1] != `{}` || calls[1][1] != `{"prevAlarmDetails":"{\"count\":1}"}` || calls[1][0] != `{"a":1}` {
		t.Errorf("the script was called with %q", calls)
	}
}

func TestTheMessageIsTheAlarm(t *testing.T) {
	b := bench(t)
	const config = `{"useMessageAlarmData":true,"alarmType":"","severity":"",` + script
	body := `{"type":"Own","severity":"WARNING","startTs":3,"endTs":4,"details":{"x":1},"propagate":true}`
	_, out := told(t, b.Process(b.Node(createalarm.Kind(), config+`}`), b.Message("X", body, map[string]string{"k": "v"})), "ENTITY_CREATED", "Created", "isNewAlarm")
	if a := read(t, out.Data); a.Type != "Own" || a.Severity != "WARNING" || a.StartTs != 3 || a.EndTs != 4 || string(a.Details) != `{"x":1}` || !a.Propagate {
		t.Errorf("%+v", a)
	}
	if len(b.Scripts.Calls()) != 0 {
		t.Error("the script was called")
	}
	later := b.Message("X", body, map[string]string{"k": "v"})
	later.Index = 1
	_, out = told(t, b.Process(b.Node(createalarm.Kind(), config+`,"overwriteAlarmDetails":true}`), later), "ENTITY_UPDATED", "Updated", "isExistingAlarm")
	if a := read(t, out.Data); string(a.Details) != `{"count":1}` {
		t.Errorf("%+v", a)
	}
}

func TestWhatFails(t *testing.T) {
	b := bench(t)
	for _, c := range []struct{ config, data, result, why string }{
		{`{"alarmType":"T","severity":"${none}",` + script + `}`, `{}`, `{}`, "severity"},
		{`{"alarmType":"${*}$[none]","severity":"MAJOR",` + script + `}`, `hello`, `{}`, "JSON"},
		{`{"useMessageAlarmData":true,` + script + `}`, `{"type":"T"}`, `{}`, "severity"},
		{`{"useMessageAlarmData":true,` + script + `}`, `{"severity":"MAJOR"}`, `{}`, "type"},
		{`{"useMessageAlarmData":true,` + script + `}`, `[1]`, `{}`, "body"},
	} {
		b.Scripts.Return(c.result)
		if why, failed := b.Process(b.Node(createalarm.Kind(), c.config), b.Message("X", c.data, nil)).Failed(); !failed || !strings.Contains(why, c.why) {
			t.Errorf("%s: %q, %v", c.config, why, failed)
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"severity":"MAJOR",` + script + `}`:                                                  "alarmType",
		`{"alarmType":"T","severity":"BAD",` + script + `}`:                                    "severity",
		`{"alarmType":"T","severity":"MAJOR"}`:                                                 "alarmDetailsBuildJs",
		`{"alarmType":"T","severity":"MAJOR","scriptLang":"TBEL","alarmDetailsBuildTbel":"x"}`: "alarmDetailsBuildTbel",
	} {
		if _, err := b.New(createalarm.Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}
