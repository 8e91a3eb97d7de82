package raised_test

import (
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/raised"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestIDsFollowFromMessageAndNode(t *testing.T) {
	b := rulenodetest.New(t)
	in, again := b.Message("X", `{}`, nil), b.Message("X", `{}`, nil)
	if raised.ID(b.Services, in, "a") != raised.ID(b.Services, again, "a") {
		t.Error("the same message has two ids")
	}
	seen := map[string]bool{}
	other := b.Services
	other.Node[0]++
	second, later, part := *in, *in, *in
	second.Index, later.Time, part.Body = 1, later.Time+1, rule.TextBody(`1`)
	for _, id := range []string{
		raised.ID(b.Services, in, "a").String(), raised.ID(b.Services, in, "b").String(), raised.ID(other, in, "a").String(),
		raised.ID(b.Services, &second, "a").String(), raised.ID(b.Services, &later, "a").String(),
		raised.ID(b.Services, &part, "a").String(),
	} {
		if seen[id] {
			t.Errorf("%s comes twice", id)
		}
		seen[id] = true
	}
}
