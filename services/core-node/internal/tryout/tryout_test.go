package tryout

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func platform() *Platform {
	return &Platform{
		Kinds: rulenode.Catalogue(), Scripts: &rulenodetest.Scripts{}, Relations: relation.DefaultSettings(), Alarms: alarm.DefaultSettings(),
		Outside: outside.DefaultSettings(), NodeTimeout: 5 * time.Second, Executions: 100, MaxChain: 1 << 20,
	}
}

const class = `{"type":"org.thingsboard.rule.engine.`

func chainOf(nodes, links string) []byte {
	return []byte(`{"ruleChain":{"name":"Chain"},"metadata":{"firstNodeIndex":0,"nodes":[` + nodes + `],"connections":[` + links + `]}}`)
}

// TestNothingNodesUseIsMissing holds a world and its engine against what rule nodes may use: who adds to that has to add here.
func TestNothingNodesUseIsMissing(t *testing.T) {
	r := &run{platform: platform()}
	w, err := r.platform.newWorld(t.Context(), time.Now(), r.platform.Kinds)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	}()
	r.world = w
	for _, all := range []reflect.Value{reflect.ValueOf(w.services), reflect.ValueOf(r.engineOptions())} {
		for i := range all.NumField() {
			switch field := all.Field(i); field.Kind() {
			case reflect.Interface, reflect.Pointer, reflect.Func:
				if field.IsNil() {
					t.Errorf("%s.%s is missing", all.Type(), all.Type().Field(i).Name)
				}
			case reflect.Int, reflect.Int64:
				if field.IsZero() {
					t.Errorf("%s.%s is zero", all.Type(), all.Type().Field(i).Name)
				}
			}
		}
	}
}

func TestWhatIsDeletedIsNotStored(t *testing.T) {
	report, err := platform().Run(t.Context(), Options{
		File:  chainOf(class+`telemetry.TbMsgDeleteAttributesNode","name":"Forget","configuration":{"scope":"SERVER_SCOPE","keys":["limit"]}}`, ""),
		Given: []Entity{{Name: "Tank", Attributes: map[string]json.RawMessage{"SERVER_SCOPE": json.RawMessage(`{"limit":1,"kept":2}`)}}},
		Messages: []Message{
			{Device: "Tank", Body: json.RawMessage(`{"a":1}`)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Stored["Tank"].Attributes["SERVER_SCOPE"]; len(got) != 1 || got["kept"] != 2.0 {
		t.Errorf("attributes %v", got)
	}
}

// TestMessagesWithoutEndAreTold has a chain make of each event of its attributes another one.
func TestMessagesWithoutEndAreTold(t *testing.T) {
	scripts := &rulenodetest.Scripts{}
	scripts.Return(`{"msg":{"a":1},"msgType":"POST_ATTRIBUTES_REQUEST"}`)
	p := platform()
	p.Scripts, p.Executions = scripts, 1<<20
	_, err := p.Run(t.Context(), Options{
		File: chainOf(class+`transform.TbTransformMsgNode","name":"Again","configuration":{"jsScript":"x"}},`+
			class+`telemetry.TbMsgAttributesNode","name":"Save","configurationVersion":3,"configuration":{"scope":"SHARED_SCOPE","sendAttributesUpdatedNotification":true}}`,
			`{"fromIndex":0,"toIndex":1,"type":"Success"}`),
		Messages: []Message{{Type: "POST_ATTRIBUTES_REQUEST", Body: json.RawMessage(`{"a":1}`)}},
	})
	if err == nil || !strings.Contains(err.Error(), "more than 1000 messages came of it") {
		t.Errorf("error %v", err)
	}
}

func TestADelayMovesTheClock(t *testing.T) {
	began := time.Now()
	report, err := platform().Run(t.Context(), Options{
		File: chainOf(class+`delay.TbMsgDelayNode","name":"Wait","configuration":{"periodInSeconds":3600,"maxPendingMsgs":10}},`+
			class+`telemetry.TbMsgTimeseriesNode","name":"Save","configuration":{"defaultTTL":0}}`, `{"fromIndex":0,"toIndex":1,"type":"Success"}`),
		Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Messages: []Message{{Body: json.RawMessage(`{"a":1}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Flights) != 2 || report.Flights[1].From != "kept until 2026-01-01T01:00:00Z" {
		t.Errorf("flights %+v", report.Flights)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("an hour took %v", took)
	}
	if got := report.Stored["Device"].Telemetry["a"]; got != 1.0 {
		t.Errorf("stored %v", got)
	}
}

func TestWhatIsGivenHasToBeSound(t *testing.T) {
	save := chainOf(class+`telemetry.TbMsgTimeseriesNode","name":"Save","configuration":{"defaultTTL":0}}`, "")
	for _, c := range []struct {
		name   string
		o      Options
		reason string
	}{
		{"no chain", Options{File: []byte(`{}`)}, "this is no exported rule chain"},
		{"a chain that is refused", Options{File: chainOf(`{"name":"X"}`, "")}, `node 0 "X": type`},
		{"two of a name", Options{File: save, Given: []Entity{{Name: "A"}, {Name: "A"}}}, "another entity has it"},
		{"an entity of no type", Options{File: save, Given: []Entity{{Type: "TRUCK", Name: "A"}}}, "DEVICE, ASSET or CUSTOMER"},
		{"a customer that is not given", Options{File: save, Given: []Entity{{Name: "A", Customer: "C"}}}, `no customer "C"`},
		{"a scope that is none", Options{File: save, Given: []Entity{{Name: "A", Attributes: map[string]json.RawMessage{"X": nil}}}}, `no scope "X"`},
		{"telemetry that is none", Options{File: save, Given: []Entity{{Name: "A", Telemetry: json.RawMessage(`3`)}}}, "telemetry:"},
		{"a relation to nobody", Options{File: save, Given: []Entity{{Name: "A"}}, Relations: []Relation{{From: "A", To: "B"}}}, "relations[0].to"},
		{"an asset that is not given", Options{File: save, Messages: []Message{{Asset: "A"}}}, `ASSET "A" is not given`},
		{"a time that is none", Options{File: save, Messages: []Message{{After: "soon"}}}, "messages[0]: after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := platform().Run(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("error %v, want one with %q", err, c.reason)
			}
		})
	}
}
