package rule

import (
	"context"
	"testing"

	"github.com/sluice-iot/sluice/proto/ident"
)

func TestAnEngineIsOneTenure(t *testing.T) {
	seen := map[ident.ID]bool{}
	for range 2 {
		s := newStage(t)
		var tenures []ident.ID
		note := func(_ context.Context, in *Message, turn *Turn) error {
			tenures = append(tenures, turn.Tenure())
			turn.Emit(Success, in)
			return nil
		}
		s.node("fast", false, note)
		s.node("slow", true, note)
		s.start(s.chain("fast", "slow", "fast"), 1, "a")
		s.settle()
		if len(tenures) != 3 || tenures[0].IsZero() || tenures[0] != tenures[1] || tenures[0] != tenures[2] || seen[tenures[0]] {
			t.Errorf("tenures %v", tenures)
		}
		seen[tenures[0]] = true
	}
}
