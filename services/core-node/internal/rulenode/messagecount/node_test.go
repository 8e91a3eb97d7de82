package messagecount

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestMessagesAreCountedOverAnInterval(t *testing.T) {
	b := rulenodetest.New(t)
	b.Services.Service = "node-1"
	node := b.Node(Kind(), `{"interval":2,"telemetryPrefix":"n"}`)
	send := func(after time.Duration) rulenodetest.Outcome {
		b.Advance(after)
		return b.Process(node, b.Message("T", `{}`, nil))
	}
	told := func(data, delta string) rulenodetest.Outcome {
		return rulenodetest.Outcome{Emitted: []rulenodetest.Emitted{{
			Relation: rule.Success, Type: "POST_TELEMETRY_REQUEST", Data: data, Metadata: map[string]string{"delta": delta},
			Originator: b.Services.Tenant.Entity(),
		}}}
	}
	for i, step := range []struct {
		after time.Duration
		want  rulenodetest.Outcome
	}{
		{0, rulenodetest.Outcome{}},
		{1999 * time.Millisecond, rulenodetest.Outcome{}},
		{time.Millisecond, told(`{"n_node-1":3}`, "2000")},
		{time.Second, rulenodetest.Outcome{}},
		{time.Minute, told(`{"n_node-1":2}`, "61000")},
	} {
		if diff := cmp.Diff(step.want, send(step.after)); diff != "" {
			t.Errorf("message %d: %s", i, diff)
		}
	}
}

func TestWithoutANameThePrefixIsTheKey(t *testing.T) {
	b := rulenodetest.New(t)
	node := b.Node(Kind(), "")
	b.Advance(time.Second)
	if out := b.Process(node, b.Message("T", `{}`, nil)).Emitted; len(out) != 1 || out[0].Data != `{"messageCount":1}` {
		t.Errorf("%+v", out)
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	for config, field := range map[string]string{
		`{"telemetryPrefix":"n"}`: "interval: ", `{"interval":-1,"telemetryPrefix":"n"}`: "interval: ", `{"interval":1}`: "telemetryPrefix: ",
	} {
		if _, err := rulenodetest.New(t).New(Kind(), config); err == nil || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%s: %v, want an error naming %s", config, err, field)
		}
	}
}
