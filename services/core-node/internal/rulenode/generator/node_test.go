package generator

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/scripttransform"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// counting answers as `return {msg:{c:(prevMsg.c||0)+1},metadata:{},msgType:"X"}` does.
func counting(args []string) (string, error) {
	var before struct {
		C int `json:"c"`
	}
	err := json.Unmarshal([]byte(args[0]), &before)
	return fmt.Sprintf(`{"msg":{"c":%d},"metadata":{},"msgType":"X"}`, before.C+1), err
}

func TestB16_SoManyAreMadeAndThenAgainAfterARestart(t *testing.T) {
	b := rulenodetest.New(t)
	b.Scripts.Answer = counting
	node := b.Node(Kind(), `{"msgCount":3,"periodInSeconds":2,"jsScript":"return {msg:{c:(prevMsg.c||0)+1},metadata:{},msgType:'X'};"}`)
	for range 2 {
		var state []byte // a restart loses it
		for c := 1; c <= 3; c++ {
			out, again, next := b.Tick(node, state)
			want := []rulenodetest.Emitted{{
				Relation: rule.Success, Type: "X", Data: fmt.Sprintf(`{"c":%d}`, c), Metadata: map[string]string{},
				Originator: ident.EntityID{Type: ident.RuleNode, ID: b.Services.Node},
			}}
			if diff := cmp.Diff(want, out.Emitted); diff != "" {
				t.Error(diff)
			}
			if wait := map[bool]time.Duration{true: 2 * time.Second}[c < 3]; again != wait {
				t.Errorf("after message %d it is called again after %v, want %v", c, again, wait)
			}
			state = next
		}
		if out, again, _ := b.Tick(node, state); len(out.Emitted) != 0 || again != 0 {
			t.Errorf("after the last it makes %v, again after %v", out.Emitted, again)
		}
	}
}

func TestTheScriptIsGivenTheMessageBefore(t *testing.T) {
	b := rulenodetest.New(t)
	b.Scripts.Return(`{"msg":[1],"metadata":{"n":5},"msgType":"X"}`)
	node := b.Node(Kind(), "")
	_, _, state := b.Tick(node, nil)
	b.Tick(node, state)
	if diff := cmp.Diff([][]string{{`{}`, `{}`, ""}, {`[1]`, `{"n":"5"}`, "X"}}, b.Scripts.Calls()); diff != "" {
		t.Error(diff)
	}
}

func TestB17_ScriptsOfEqualTextHaveTheirOwnParameters(t *testing.T) {
	b := rulenodetest.New(t)
	const config = `{"periodInSeconds":1,"jsScript":"return {msg: msg};"}`
	b.Node(Kind(), config)
	b.Node(scripttransform.Kind(), config)
	want := []rulenodetest.Prepared{
		{Parameters: []string{"prevMsg", "prevMetadata", "prevMsgType"}, Body: "return {msg: msg};"},
		{Parameters: []string{"msg", "metadata", "msgType"}, Body: "return {msg: msg};"},
	}
	if diff := cmp.Diff(want, b.Scripts.Prepared()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatFailsGoesAlongFailure(t *testing.T) {
	for result, want := range map[string]string{`[{"msg":1}]`: "Wrong result type: ARRAY", ``: "Wrong result type: UNDEFINED", `null`: "Wrong result type: NULL"} {
		b := rulenodetest.New(t)
		b.Scripts.Return(result)
		out, again, next := b.Tick(b.Node(Kind(), ""), nil)
		if why, failed := out.Failed(); !failed || why != want || again != time.Second || next == nil {
			t.Errorf("%s: failed %v with %q, again after %v", result, failed, why, again)
		}
	}
	b := rulenodetest.New(t)
	b.Scripts.Throw(storage.ErrUnavailable)
	if _, _, err := b.Node(Kind(), "").(rule.Source).Tick(t.Context(), nil, &rule.Turn{}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("while the platform is away: %v", err)
	}
}

func TestOriginatorAndQueue(t *testing.T) {
	b := rulenodetest.New(t)
	b.Services.Queue = "HighPriority"
	b.Scripts.Return(`{}`)
	device := ident.New()
	for config, want := range map[string]ident.EntityID{
		`"originatorType":"TENANT"`: b.Services.Tenant.Entity(),
		`"originatorType":"DEVICE","originatorId":"` + device.String() + `"`: {Type: ident.Device, ID: device},
		`"originatorId":"x"`: {Type: ident.RuleNode, ID: b.Services.Node},
	} {
		node := b.Node(Kind(), `{"periodInSeconds":1,"jsScript":"return {};",`+config+`}`)
		if got := node.(rule.Source).Originator(); got != want {
			t.Errorf("%s: %v, want %v", config, got, want)
		}
		out, _, _ := b.Tick(node, nil)
		if e := out.Emitted[0]; e.Originator != want || !e.Requeued || e.Queue != "HighPriority" {
			t.Errorf("%s: %+v", config, e)
		}
	}
	if _, failed := b.Process(b.Node(Kind(), ""), b.Message("T", `{}`, nil)).Failed(); !failed {
		t.Error("it takes messages")
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	for config, field := range map[string]string{
		`{"periodInSeconds":0,"jsScript":"x"}`: "periodInSeconds: ", `{"periodInSeconds":1,"msgCount":-1,"jsScript":"x"}`: "msgCount: ",
		`{"periodInSeconds":1}`: "jsScript: ", `{"periodInSeconds":1,"jsScript":"x","originatorType":"DEVICE"}`: "originatorId: ",
		`{"periodInSeconds":1,"jsScript":"x","originatorType":"DEVICE","originatorId":"x"}`: "originatorId: ",
		`{"periodInSeconds":1,"jsScript":"x","originatorType":"EDGE"}`:                      "originatorType: ",
	} {
		if _, err := rulenodetest.New(t).New(Kind(), config); err == nil || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%s: %v, want an error naming %s", config, err, field)
		}
	}
}

func TestOldConfigurationsAreUpgraded(t *testing.T) {
	for _, c := range []struct {
		from                int
		config, want, queue string
	}{
		{0, `{"queueName":"HP","originatorId":null}`, `{"originatorId":null,"originatorType":"RULE_NODE"}`, "HP"},
		{0, `{"originatorType":"DEVICE","originatorId":"x"}`, `{"originatorId":"x","originatorType":"DEVICE"}`, ""},
		{1, `{"originatorType":"DEVICE","queueName":"kept"}`, `{"originatorType":"RULE_NODE","queueName":"kept"}`, ""},
	} {
		if got, queue := rulenodetest.Upgrade(t, Kind(), c.from, c.config); got != c.want || queue != c.queue {
			t.Errorf("from %d %s becomes %s with queue %q", c.from, c.config, got, queue)
		}
	}
}
