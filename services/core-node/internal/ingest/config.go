// Package ingest takes the records of owned partitions through rule chains into the store: one
// goroutine per partition owns everything that belongs to it. See the service's DESIGN.md.
package ingest

import (
	"log/slog"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/services/core-node/internal/deadletter"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Config is the settings of every partition.
type Config struct {
	PackRecords    int           // most records handled together
	PackBytes      int           // values that make a batch for the store full
	Window         int           // most records taken on and not committed
	CommitInterval time.Duration // between commits under load
	NodeSlots      int           // most Blocking nodes at work
	NodeTimeout    time.Duration // of one Blocking node
	NodeExecutions int           // most nodes one message runs through
	Retries        int           // of a message that failed by its own fault
	RetryBackoff   time.Duration // before the first; doubles up to a minute
	DrainTimeout   time.Duration // for what is in hand at a stop
	Watches        int           // most entities watched by other nodes, each node counted
	State          state.Config
}

// Deps is what partitions work with. All are required.
type Deps struct {
	Bus     bus.Bus
	Store   storage.Telemetry
	Devices entity.Devices
	Chains  *rule.Chains
	Hub     *live.Hub
	Letters deadletter.Writer
	Metrics *Metrics
	Log     *slog.Logger
	Now     func() time.Time
}
