//go:build fleet

package system

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

const (
	session = 2 * time.Second // the fleet's session with ZooKeeper
	taken   = "core_node_messages_taken_total"
	takings = "core_node_ring_taken_total"
)

// TestFaultOwnerPaused (F6) has an owner stand (SIGSTOP) for longer than its leases last. When it goes on, messages of
// its old partitions wait in its sockets: it takes none of them on before it has taken a partition anew.
func TestFaultOwnerPaused(t *testing.T) {
	ctx, s := newScene(t, "F6", shared(t), FleetOptions{})
	pauses := often(2, 10)
	for i := range pauses {
		owner := s.fleet.Core[i%len(s.fleet.Core)]
		s.rest() // so that the owner has nothing in hand, and its reads wait for what comes in the pause
		s.awaitQuiet(ctx)
		before, err := owner.Metrics(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if before["core_node_ring_partitions"] == 0 {
			t.Errorf("%s owns nothing", owner.Name)
		}
		over := len(owner.Lines("leases are over"))
		if err := owner.Pause(); err != nil {
			t.Fatal(err)
		}
		s.load(ctx)
		s.awaitOwners(ctx, owner)
		time.Sleep(lasting(session, 5*session))
		s.goOn(ctx)
		if err := owner.Continue(); err != nil {
			t.Fatal(err)
		}
		samples := 0
		for {
			now, err := owner.Metrics(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if now[takings] != before[takings] {
				break // it has joined anew, and may
			}
			if more := now[taken] - before[taken]; more != 0 {
				t.Fatalf("%s took on %v messages after its leases were over", owner.Name, more)
			}
			samples++
		}
		if samples == 0 {
			t.Errorf("%s was not looked at before it had joined anew", owner.Name)
		}
		eventually(ctx, t, time.Second, func() error {
			if len(owner.Lines("leases are over")) == over {
				return fmt.Errorf("%s does not log that its leases were over", owner.Name)
			}
			return nil
		})
		t.Logf("%s: 0 messages taken on in %d looks until it had joined anew", owner.Name, samples)
		s.awaitShare(ctx, owner)
		s.goOn(ctx)
	}
	s.judge(ctx, "an owner paused (SIGSTOP) past its lease, then continued", pauses)
}

// awaitQuiet waits until core nodes have nothing in hand, and were given nothing for half a second.
func (s *scene) awaitQuiet(ctx context.Context) {
	s.t.Helper()
	last, since := -1.0, time.Now()
	eventually(ctx, s.t, 20*time.Second, func() error {
		if now := s.taken(ctx); now != last || s.ofCore(ctx, "core_node_messages_in_hand") != 0 {
			last, since = now, time.Now()
		}
		if time.Since(since) < 500*time.Millisecond {
			return errors.New("core nodes have messages in hand")
		}
		return nil
	})
}
