package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	corenode "github.com/sluice-iot/sluice/services/core-node"
)

// ring opens a session with ZooKeeper, if core nodes are to meet there.
func (d *Doctor) ring(ctx context.Context) []finding {
	f := finding{about: "zookeeper"}
	if !d.Core.Ring.Configured() {
		f.told = "none configured: one core node owns everything"
		return []finding{f}
	}
	nodes, timeout, err := corenode.ExamineRing(ctx, d.Core.Config)
	f.err = err
	f.told = fmt.Sprintf("session time-out %v, %d core nodes %v", timeout, len(nodes), nodes)
	return []finding{f}
}

// The clocks of core nodes and store may differ by this much without a word. Tokens, time-to-live and the order of writes
// after an owner's end take small differences.
const clockWarning = 500 * time.Millisecond

var errClocks = errors.New("clocks differ")

// store opens the shared store, if there is one, writes to it and compares its clock with this host's.
func (d *Doctor) store(ctx context.Context) []finding {
	if d.Core.Store != "cassandra" {
		return []finding{{about: "store", told: "a folder of the core node's own; ask the node's /ready"}}
	}
	asked := time.Now()
	clock, err := corenode.ExamineStore(ctx, d.Core.Config)
	if err != nil {
		return []finding{{about: "cassandra", err: err}}
	}
	// The store's time was read between asked and now; how far it lies outside is what the clocks differ at least.
	differs := max(asked.Sub(clock), time.Until(clock), 0)
	f := finding{about: "clock", told: fmt.Sprintf("within %v of Cassandra's", clockWarning)}
	if differs > clockWarning {
		f.warning, f.err = true, fmt.Errorf("%w: by at least %v, this host's and Cassandra's", errClocks, differs.Round(time.Millisecond))
	}
	return []finding{{about: "cassandra", told: "opens, and takes a write"}, f}
}
