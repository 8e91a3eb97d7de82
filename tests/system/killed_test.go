//go:build fleet

package system

import "testing"

// TestFaultCoreNodeKilled (F3) kills one core node after the other; each time the others take its partitions.
func TestFaultCoreNodeKilled(t *testing.T) {
	ctx, s := newScene(t, "F3", shared(t), FleetOptions{})
	kills := often(3, 20)
	for i := range kills {
		node := s.fleet.Core[i%len(s.fleet.Core)]
		if each, _ := s.owned(ctx); each[node] == 0 {
			t.Errorf("%s owned nothing when it was killed", node.Name)
		}
		node.Kill()
		if code := node.Wait(); code != -1 {
			t.Errorf("%s ended with %d, not by a signal", node.Name, code)
		}
		s.awaitOwners(ctx)
		s.mustStart(ctx, node)
		s.goOn(ctx)
		s.awaitShare(ctx, node)
	}
	s.judge(ctx, "a core node of three killed (SIGKILL)", kills)
}
