package messagetypefilter

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestTypesThatAreListedAreTrue(t *testing.T) {
	b := rulenodetest.New(t)
	standard, own := b.Node(Kind(), ""), b.Node(Kind(), `{"messageTypes":["MY_TYPE"]}`)
	for _, c := range []struct {
		node rule.Node
		kind string
		want rule.Relation
	}{
		{standard, "POST_TELEMETRY_REQUEST", rule.True},
		{standard, "TO_SERVER_RPC_REQUEST", rule.True},
		{standard, "post_telemetry_request", rule.False},
		{standard, "ALARM", rule.False},
		{own, "MY_TYPE", rule.True},
		{own, "POST_TELEMETRY_REQUEST", rule.False},
	} {
		in := b.Message(c.kind, `{"a":1}`, map[string]string{"k": "v"})
		want := rulenodetest.Outcome{Emitted: []rulenodetest.Emitted{{
			Relation: c.want, Type: c.kind, Data: `{"a":1}`, Metadata: map[string]string{"k": "v"}, Originator: in.Originator,
		}}}
		if diff := cmp.Diff(want, b.Process(c.node, in)); diff != "" {
			t.Errorf("%s: %s", c.kind, diff)
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	for _, config := range []string{`{}`, `{"messageTypes":[]}`, `{"messageTypes":"ALARM"}`} {
		if _, err := rulenodetest.New(t).New(Kind(), config); err == nil || !strings.Contains(err.Error(), "messageTypes") {
			t.Errorf("%s: %v, want an error naming messageTypes", config, err)
		}
	}
}
