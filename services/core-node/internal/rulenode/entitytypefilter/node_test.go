package entitytypefilter

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestTypesThatAreListedAreTrue(t *testing.T) {
	b := rulenodetest.New(t)
	for _, c := range []struct {
		config string
		of     ident.EntityType
		want   rule.Relation
	}{
		{"", ident.Device, rule.True},
		{"", ident.Asset, rule.False},
		{`{"originatorTypes":["ASSET","ENTITY_VIEW"]}`, ident.Asset, rule.True},
		{`{"originatorTypes":["ASSET","ENTITY_VIEW"]}`, ident.Device, rule.False},
		{`{"originatorTypes":["RULE_CHAIN"]}`, ident.RuleChain, rule.True},
	} {
		in := b.Message("T", `{}`, nil)
		in.Originator.Type = c.of
		if diff := cmp.Diff([]rule.Relation{c.want}, b.Process(b.Node(Kind(), c.config), in).Relations()); diff != "" {
			t.Errorf("%s %v: %s", c.config, c.of, diff)
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	for _, config := range []string{`{}`, `{"originatorTypes":[]}`, `{"originatorTypes":"DEVICE"}`} {
		if _, err := rulenodetest.New(t).New(Kind(), config); err == nil || !strings.Contains(err.Error(), "originatorTypes") {
			t.Errorf("%s: %v, want an error naming originatorTypes", config, err)
		}
	}
}
