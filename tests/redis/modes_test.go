//go:build fleet

package redis

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-iot/sluice/tests/parts/part"
	"github.com/sluice-iot/sluice/transport"
)

// start starts a part, and kills it when the test ends.
func start[P part.Part](t *testing.T, prepare func(context.Context, string) (P, error)) P {
	t.Helper()
	one, err := prepare(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, process := range one.Processes() {
			process.Kill()
		}
	})
	if err := one.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return one
}

// expectHarmless runs the load, loses a master in its midst, and expects right answers all along and Redis in use after it.
func expectHarmless(t *testing.T, url, mode string, change func(*transport.Config), lose func()) {
	t.Helper()
	s := newStage(t, url, mode, change)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	s.load(ctx, t, &running)
	defer running.Wait()
	defer stop()
	s.during(t, "warm-up", func() error { return nil })
	if looked := s.during(t, "up", func() error { return nil }); looked["hit"] == 0 {
		t.Errorf("Redis is not in use: %v", looked)
	}
	if looked := s.during(t, "lost", func() error { lose(); return nil }); looked["error"] == 0 {
		t.Errorf("the loss took no effect: %v", looked)
	}
	for range 5 {
		if s.during(t, "after", func() error { return nil })["hit"] > 100 {
			break
		}
	}
	if looked := s.during(t, "again", func() error { return nil }); looked["hit"] == 0 {
		t.Errorf("Redis is not in use again: %v", looked)
	}
	stop()
	running.Wait()
	if s.wrong != 0 || s.refused != 0 {
		t.Errorf("%d wrong answers, %d refused devices", s.wrong, s.refused)
	}
}

func TestClusterLosesAMaster(t *testing.T) {
	cluster := start(t, part.NewRedisCluster)
	first, others, _ := strings.Cut(cluster.Address(), ",")
	url := "redis://" + first + "?addr=" + strings.ReplaceAll(others, ",", "&addr=")
	expectHarmless(t, url, "cluster", nil, cluster.Masters[2].Kill)
}

func TestSentinelMovesTheMaster(t *testing.T) {
	watched := start(t, part.NewRedisSentinel)
	named := func(c *transport.Config) { c.Redis.Master = part.RedisMaster }
	expectHarmless(t, "redis://"+watched.Address(), "sentinel", named, watched.Master.Kill)
}
