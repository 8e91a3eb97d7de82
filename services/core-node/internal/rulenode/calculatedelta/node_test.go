package calculatedelta

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// feed sends readings through a node and returns what became of the bodies.
func feed(t *testing.T, b *rulenodetest.Bench, node rule.Node, bodies ...string) []string {
	t.Helper()
	var out []string
	for i, body := range bodies {
		in := b.Message(rule.PostTelemetry, body, nil)
		in.ID[14], in.Time = byte(i), int64(1000*(i+1))
		got := b.Process(node, in)
		if why, failed := got.Failed(); failed {
			out = append(out, "Failure: "+why)
			continue
		}
		out = append(out, string(got.Emitted[0].Relation)+" "+got.Emitted[0].Data)
	}
	return out
}

func TestA29_Deltas(t *testing.T) {
	for _, c := range []struct {
		name, config string
		bodies, want []string
	}{
		{"as in the reference", "", []string{`{"pulseCounter":10}`, `{"pulseCounter":15}`, `{"pulseCounter":12}`}, []string{
			`Success {"pulseCounter":10,"delta":0}`, `Success {"pulseCounter":15,"delta":5}`, "Failure: the delta is negative",
		}},
		{"after a failure the last reading counts", "", []string{`{"pulseCounter":15}`, `{"pulseCounter":12}`, `{"pulseCounter":14}`}, []string{
			`Success {"pulseCounter":15,"delta":0}`, "Failure: the delta is negative", `Success {"pulseCounter":14,"delta":2}`,
		}},
		{
			"negative, with period, rounded", `{"inputValueKey":"t","outputValueKey":"d","useCache":true,"addPeriodBetweenMsgs":true,"periodValueKey":"p","round":1}`,
			[]string{`{"t":21.25}`, `{"t":"20.8"}`, `{"t":20.85}`},
			[]string{`Success {"t":21.25,"d":0,"p":0}`, `Success {"t":"20.8","d":-0.4,"p":1000}`, `Success {"t":20.85,"d":0.1,"p":1000}`},
		},
		{
			"as far as doubles go", `{"inputValueKey":"t","outputValueKey":"d","useCache":true}`,
			[]string{`{"t":0.1}`, `{"t":0.3}`, `{"t":10000000.4}`},
			[]string{`Success {"t":0.1,"d":0}`, `Success {"t":0.3,"d":0.19999999999999998}`, `Success {"t":10000000.4,"d":10000000.1}`},
		},
		{
			"without zeros", `{"inputValueKey":"t","outputValueKey":"d","useCache":true,"excludeZeroDeltas":true}`,
			[]string{`{"t":1}`, `{"t":1}`, `{"t":2}`},
			[]string{`Success {"t":1}`, `Success {"t":1}`, `Success {"t":2,"d":1}`},
		},
		{"no key, no number, no object", "", []string{`{"a":1}`, `{"pulseCounter":"x"}`, `{"pulseCounter":null}`}, []string{
			`Other {"a":1}`, `Failure: pulseCounter: "x" is no number`, `Failure: pulseCounter: null is no number`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			b.Platform()
			if diff := cmp.Diff(c.want, feed(t, b, b.Node(Kind(), c.config), c.bodies...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOtherTypesAreOther(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	if got := b.Process(b.Node(Kind(), ""), b.Message("X", `{"pulseCounter":1}`, nil)).Relations(); len(got) != 1 || got[0] != rule.Other {
		t.Errorf("%v", got)
	}
}

func TestTheStoreIsAskedForWhatWasBefore(t *testing.T) {
	for _, cache := range []string{"true", "false"} {
		b := rulenodetest.New(t)
		b.Platform()
		config := `{"inputValueKey":"t","outputValueKey":"d","useCache":` + cache + `}`
		b.Put(b.Device.Entity(), storage.Timeseries, 500, `{"t":1}`)
		b.Put(b.Device.Entity(), storage.Timeseries, 1000, `{"t":4}`) // the chain stored the message first
		b.Put(b.Device.Entity(), storage.Timeseries, 9000, `{"t":99}`)
		if diff := cmp.Diff([]string{`Success {"t":4,"d":3}`}, feed(t, b, b.Node(Kind(), config), `{"t":4}`)); diff != "" {
			t.Errorf("cache %s: %s", cache, diff)
		}
	}
}

func TestAMessageHandledAgainHasTheSameDelta(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	node := b.Node(Kind(), `{"inputValueKey":"t","outputValueKey":"d","useCache":true}`)
	feed(t, b, node, `{"t":10}`)
	in := b.Message(rule.PostTelemetry, "", nil)
	in.ID[14], in.Time = 9, 2000
	for range 3 { // three attempts at a message that was split into copies
		for _, c := range []struct{ body, want string }{{`{"t":15}`, `{"t":15,"d":5}`}, {`{"t":18}`, `{"t":18,"d":3}`}, {`{"t":17}`, `{"t":17,"d":-1}`}} {
			part := *in
			part.Body = rule.TextBody(c.body)
			if got := b.Process(node, &part); got.Emitted[0].Data != c.want {
				t.Errorf("%+v, want %s", got.Emitted, c.want)
			}
		}
	}
}

// Another owner of the partition handled messages since: turns of a later tenure do not trust what an earlier one left.
func TestAnotherTenureAsksTheStore(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	n := b.Node(Kind(), `{"inputValueKey":"t","outputValueKey":"d","useCache":true}`).(*node)
	feed(t, b, n, `{"t":10}`)
	m, _ := n.last.Get(b.Device.Entity())
	m.tenure[0]++ // as another engine had left it
	n.last.Put(b.Device.Entity(), m)
	b.Put(b.Device.Entity(), storage.Timeseries, 1500, `{"t":40}`)
	in := b.Message(rule.PostTelemetry, `{"t":41}`, nil)
	in.Time = 2000
	if got := b.Process(n, in); got.Emitted[0].Data != `{"t":41,"d":1}` {
		t.Errorf("%+v", got)
	}
	late := b.Message(rule.PostTelemetry, `{"t":45}`, nil)
	late.ID[13], late.Time = 1, 1700
	if got := b.Process(n, late); got.Emitted[0].Data != `{"t":45,"d":5}` {
		t.Errorf("a late message: %+v", got)
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"outputValueKey":"d"}`:                                                 "inputValueKey",
		`{"inputValueKey":"d"}`:                                                  "outputValueKey",
		`{"inputValueKey":"d","outputValueKey":"d","round":16}`:                  "round",
		`{"inputValueKey":"d","outputValueKey":"d","addPeriodBetweenMsgs":true}`: "periodValueKey",
	} {
		if _, err := b.New(Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}

func TestOldConfigurationsAreUpgraded(t *testing.T) {
	for _, c := range []struct {
		from      int
		old, want string
	}{
		{0, `{"inputValueKey":"a"}`, `{"excludeZeroDeltas":false,"inputValueKey":"a"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
