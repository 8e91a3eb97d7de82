//go:build fleet

package system

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// TestFaultZooKeeperAway (F7) ends ZooKeeper for longer than leases last. Devices are acknowledged as before and new
// ones may connect; nothing is processed until it is back, and then all of it.
func TestFaultZooKeeperAway(t *testing.T) {
	ctx, s := newScene(t, "F7", shared(t), FleetOptions{})
	away := lasting(10*time.Second, 2*time.Minute)
	strangers := newStrangers(ctx, t, s.tenant, 5)
	ordinary := s.rate(ctx, 3*time.Second)
	zookeeper := s.fleet.Parts.ZooKeeper
	zookeeper.Kill()
	began := time.Now()
	acknowledged := s.devices.acknowledged()
	time.Sleep(session + session/4)
	if _, owned := s.owned(ctx); owned != 0 {
		t.Errorf("%d partitions are owned after the leases' time", owned)
	}
	stood := s.taken(ctx)
	lag := 0
	for _, token := range strangers {
		if err := Probe(ctx, s.fleet.Doors(), token).Accepted(); err != nil {
			t.Errorf("a new device: %v", err)
		}
	}
	for _, node := range s.fleet.Roles() {
		if ready, why, err := node.Ready(ctx); err != nil || !ready {
			t.Errorf("%s is not ready without ZooKeeper: %s %v", node.Name, why, err)
		}
	}
	time.Sleep(time.Until(began.Add(away)))
	lag = s.devices.acknowledged() - acknowledged
	rate := float64(lag) / time.Since(began).Seconds()
	if rate < 0.9*ordinary {
		t.Errorf("%.0f readings acknowledged a second, ordinarily %.0f", rate, ordinary)
	}
	if now := s.taken(ctx); now != stood {
		t.Errorf("%v messages were taken on after the leases' time", now-stood)
	}
	if err := zookeeper.Start(ctx); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	s.awaitOwners(ctx)
	eventually(ctx, t, 30*time.Second, func() error {
		if now := s.taken(ctx); now < stood+float64(lag) {
			return fmt.Errorf("%v of the %d messages of the outage taken on", now-stood, lag)
		}
		return nil
	})
	t.Logf("acknowledged %.0f/s, ordinarily %.0f/s; caught up %s after ZooKeeper's return", rate, ordinary, time.Since(back).Round(10*time.Millisecond))
	s.judge(ctx, fmt.Sprintf("ZooKeeper away for %s", away), 1)
}

// rate is how many readings are acknowledged a second.
func (s *scene) rate(ctx context.Context, during time.Duration) float64 {
	before := s.devices.acknowledged()
	select {
	case <-ctx.Done():
	case <-time.After(during):
	}
	return float64(s.devices.acknowledged()-before) / during.Seconds()
}

// taken is how many messages the core nodes that run have taken on.
func (s *scene) taken(ctx context.Context) float64 { return s.ofCore(ctx, taken) }

// stored is how many of devices' readings the core nodes that run have processed to the end.
func (s *scene) stored(ctx context.Context) float64 {
	return s.ofCore(ctx, "core_node_messages_stored_total")
}

// ofCore adds up a metric over the core nodes that run.
func (s *scene) ofCore(ctx context.Context, metric string) (sum float64) {
	s.t.Helper()
	for _, node := range s.fleet.Core {
		if !node.Running() {
			continue
		}
		m, err := node.Metrics(ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		sum += m[metric]
	}
	return sum
}

// newStrangers makes devices that no transport has heard of, and returns their tokens.
func newStrangers(ctx context.Context, t *testing.T, tenant *Tenant, n int) (tokens []string) {
	t.Helper()
	for range n {
		tokens = append(tokens, unique("STRANGER"))
	}
	if _, err := tenant.NewDevices(ctx, unique("stranger"), tokens); err != nil {
		t.Fatal(err)
	}
	return tokens
}
