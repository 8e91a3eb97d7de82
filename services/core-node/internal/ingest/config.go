// Package ingest takes the records of owned partitions through rule chains into the store: one
// goroutine per partition owns everything that belongs to it. See the service's DESIGN.md.
package ingest

import (
	"context"
	"log/slog"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/deadletter"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/trace"
)

// Config is the settings of every partition.
type Config struct {
	PackRecords    int           // most records handled together
	PackBytes      int           // values that make a batch for the store full
	Window         int           // most records taken on and not committed
	CommitInterval time.Duration // between commits under load
	NodeSlots      int           // most nodes at work that wait for the outside, and the same for the store
	ScriptSlots    int           // most nodes waiting for a script
	ScriptCalls    int           // most of a tenant's calls of scripts under way, in all partitions of the process together
	HandOns        int           // most messages being put on the bus by nodes
	NodeTimeout    time.Duration // of one node that waits
	NodeExecutions int           // most nodes one message runs through
	DrainTimeout   time.Duration // for what is in hand at a stop
	Copies         int           // most messages in hand in a partition, those that nodes made counted
	Timers         int           // most messages of a partition that wait for their time
	Watches        int           // most entities watched by other nodes, each node counted
	State          state.Config
	RPC            rpc.Settings
	Trace          trace.Settings
}

// Assets finds assets; what is not there is storage.ErrNotFound.
type Assets interface {
	Get(ctx context.Context, tenant ident.TenantID, id ident.ID) (entity.Asset, error)
}

// Deps is what partitions work with. All are required.
type Deps struct {
	Bus     bus.Bus
	Store   storage.Telemetry
	Rows    storage.Rows
	Devices entity.Devices
	Assets  Assets
	Claims  Claims
	Chains  *rule.Chains
	Hub     *live.Hub
	Letters deadletter.Writer
	// Queues are those of rule messages; the first is the main one.
	Queues []queue.Queue
	// Debug is told what nodes under debugging do.
	Debug   func(rule.Debugged)
	Metrics *Metrics
	Log     *slog.Logger
	Now     func() time.Time
}
