//go:build fleet

package system

import (
	"fmt"
	"testing"
	"time"
)

// TestFaultCassandraPaused (F20) has Cassandra stand (SIGSTOP): connected devices are acknowledged all the same, what they
// sent waits in Kafka, and is stored when Cassandra goes on.
func TestFaultCassandraPaused(t *testing.T) {
	ctx, s := newScene(t, "F20", shared(t), FleetOptions{})
	ordinary := s.rate(ctx, 2*time.Second)
	away := lasting(8*time.Second, 30*time.Second)
	cassandra := s.fleet.Parts.Cassandra
	if err := cassandra.Pause(); err != nil {
		t.Fatal(err)
	}
	began, acknowledged := time.Now(), s.devices.acknowledged()
	time.Sleep(time.Second) // answers that were on their way
	stood := s.stored(ctx)
	time.Sleep(time.Until(began.Add(away)))
	if now := s.stored(ctx); now != stood {
		t.Errorf("%v messages were stored while Cassandra stood", now-stood)
	}
	lag := s.devices.acknowledged() - acknowledged
	if rate := float64(lag) / time.Since(began).Seconds(); rate < 0.9*ordinary {
		t.Errorf("%.0f readings acknowledged a second, ordinarily %.0f", rate, ordinary)
	}
	if err := cassandra.Continue(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	eventually(ctx, t, 30*time.Second, func() error {
		if now := s.stored(ctx); now < stood+float64(lag) {
			return fmt.Errorf("%v of the pause's %d messages stored", now-stood, lag)
		}
		return nil
	})
	t.Logf("caught up with %d messages %s after Cassandra went on", lag, time.Since(back).Round(10*time.Millisecond))
	s.judge(ctx, fmt.Sprintf("Cassandra paused (SIGSTOP) for %s", away), 1)
}
