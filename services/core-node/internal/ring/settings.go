package ring

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Settings are what operators set.
type Settings struct {
	ZooKeeper        []string      `name:"zookeeper" help:"ZooKeeper servers, host:port; empty for a single node that owns everything." placeholder:"HOST:PORT" sep:","`
	ZooKeeperRoot    string        `name:"zookeeper-root" help:"Znode below which this fleet keeps its own." default:"/sluice"`
	ZooKeeperSession time.Duration `name:"zookeeper-session" help:"Time-out T of the session, as asked for: so long a dead node's partitions rest. ZooKeeper's tickTime must be at most a tenth." default:"2s"`
	ZooKeeperSettle  time.Duration `name:"zookeeper-settle" help:"How long a node waits after others joined before it moves partitions, so that several make one change." default:"150ms"`
	LeaseMargin      time.Duration `name:"lease-margin" help:"How long before others may take a partition its owner takes nothing more on; between a fifth and a half of T. Less T/6 it is the time left to a request to the bus or the store." default:"700ms"`
}

// Configured reports whether nodes meet in ZooKeeper.
func (s Settings) Configured() bool { return len(s.ZooKeeper) > 0 }

// Validate returns what is wrong with s, naming the flag.
func (s Settings) Validate() error {
	if !s.Configured() {
		return nil
	}
	for _, server := range s.ZooKeeper {
		if !strings.Contains(server, ":") {
			return fmt.Errorf("--zookeeper: %q is not host:port", server)
		}
	}
	switch {
	case !strings.HasPrefix(s.ZooKeeperRoot, "/") || strings.HasSuffix(s.ZooKeeperRoot, "/") || strings.Contains(s.ZooKeeperRoot, "//"):
		return fmt.Errorf("--zookeeper-root: %q is not an absolute path, such as /sluice", s.ZooKeeperRoot)
	case s.ZooKeeperSession < 100*time.Millisecond || s.ZooKeeperSession > time.Minute:
		return fmt.Errorf("--zookeeper-session: %v is not between 100ms and 1m", s.ZooKeeperSession)
	case s.ZooKeeperSettle < 0 || s.ZooKeeperSettle > s.ZooKeeperSession:
		return fmt.Errorf("--zookeeper-settle: %v is not between 0 and the session time-out", s.ZooKeeperSettle)
	}
	return s.fits(s.ZooKeeperSession)
}

var errMargin = errors.New("the margin does not fit the session time-out")

// fits returns why the margin does not fit a session of the time-out.
//
// What must fit into the margin: the clocks' rates and what an ensemble's leader may know less of the session than
// the node, together T/6, and a request. What must fit into the rest: a lost heartbeat and the next.
func (s Settings) fits(timeout time.Duration) error {
	if s.LeaseMargin < timeout/5 || s.LeaseMargin > timeout/2 {
		return fmt.Errorf("--lease-margin: %v is not between %v and %v, a fifth and a half of the session time-out %v: %w",
			s.LeaseMargin, timeout/5, timeout/2, timeout, errMargin)
	}
	return nil
}

// heartbeat is how often a node of a session of the time-out proves that it lives.
func heartbeat(timeout time.Duration) time.Duration { return timeout / 10 }
