package live

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// TestANewOwnerThatKnewAlready: an owner that is killed leaves requests uncommitted, which the next one reads again before
// it is asked itself. Its answer does not say that it began; what it saved before it knew is read all the same, once.
func TestANewOwnerThatKnewAlready(t *testing.T) {
	g := newGroup(&Watches{o: Options{
		Here: func(int) bool { return false }, Metrics: NewMetrics(prometheus.NewRegistry()),
	}}, 0)
	e := ident.EntityID{Type: ident.Device, ID: ident.New()}
	asked := []ident.EntityID{e}
	g.enter(e)
	one := g.entities[e]
	stale := func() bool {
		was := one.stale
		one.stale = false
		return was
	}
	g.answered(asked, &sluicepb.Watching{Epoch: 1, Begun: []uint32{0}})
	if err := one.show(); err != nil || stale() {
		t.Fatalf("the first answer: stale before anything was shown, or refused: %v", err)
	}
	for epoch := int64(2); epoch < 4; epoch++ {
		g.owned(false, epoch)
		g.urgent = false // as the next request does
		g.answered(asked, &sluicepb.Watching{Epoch: epoch})
		if !stale() || one.due {
			t.Errorf("epoch %d: what was saved before the owner knew is not read", epoch)
		}
		g.answered(asked, &sluicepb.Watching{Epoch: epoch})
		if stale() {
			t.Errorf("epoch %d: read again at a renewal", epoch)
		}
	}
}
