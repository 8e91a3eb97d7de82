//go:build fleet

package redis

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sluice-iot/sluice/tests/parts/part"
	"github.com/sluice-iot/sluice/transport"
)

// node is one redis-server started with settings of its own.
type node struct {
	*part.Process
	address string
}

// start starts redis-server with args in a folder of its own; config, if any, is its configuration.
func start(t *testing.T, name, config string, args ...string) node {
	t.Helper()
	address, err := part.FreeAddress("tcp")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	all := append([]string{"--bind", host, "--port", port, "--save", "", "--dir", dir}, args...)
	if config != "" {
		path := filepath.Join(dir, "redis.conf")
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		all = append([]string{path}, all...)
	}
	n := node{part.NewProcess(part.Command{
		Name: name, Program: "redis-server", Dir: dir, Args: all,
		Ready: func(ctx context.Context) error { return command(ctx, address, "PING") },
	}), address}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return n
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
	args := []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"}
	var nodes []node
	create := []string{"--cluster", "create"}
	for i := range 3 {
		n := start(t, fmt.Sprint("cluster", i), "", args...)
		nodes, create = append(nodes, n), append(create, n.address)
	}
	if out, err := exec.CommandContext(t.Context(), "redis-cli", append(create, "--cluster-yes")...).CombinedOutput(); err != nil {
		t.Fatalf("make the cluster: %v\n%s", err, out)
	}
	url := fmt.Sprintf("redis://%s?addr=%s&addr=%s", nodes[0].address, nodes[1].address, nodes[2].address)
	expectHarmless(t, url, "cluster", nil, nodes[2].Kill)
}

func TestSentinelMovesTheMaster(t *testing.T) {
	master := start(t, "master", "")
	host, port, err := net.SplitHostPort(master.address)
	if err != nil {
		t.Fatal(err)
	}
	start(t, "replica", "", "--replicaof", host+" "+port)
	sentinel := start(t, "sentinel", fmt.Sprintf(
		"sentinel monitor fleet %s %s 1\nsentinel down-after-milliseconds fleet 1000\nsentinel failover-timeout fleet 3000\n", host, port), "--sentinel")
	named := func(c *transport.Config) { c.Redis.Master = "fleet" }
	expectHarmless(t, "redis://"+sentinel.address, "sentinel", named, master.Kill)
}
