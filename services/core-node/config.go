package corenode

import (
	"errors"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/claim"
	"github.com/sluice-iot/sluice/services/core-node/internal/event"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi"
	"github.com/sluice-iot/sluice/services/core-node/internal/ingest"
	"github.com/sluice-iot/sluice/services/core-node/internal/ota"
	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/ring"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
	"github.com/sluice-iot/sluice/services/core-node/internal/script"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/cassandra"
	"github.com/sluice-iot/sluice/services/core-node/internal/trace"
	"github.com/sluice-iot/sluice/services/core-node/internal/websocket"
)

// Config is what operators set. Every bound of the service is here.
type Config struct {
	Store      string `name:"store" help:"Where data is kept: pebble, a folder of this node alone, or cassandra, shared by all." default:"pebble" enum:"pebble,cassandra"`
	DataDir    string `name:"data" help:"Folder that holds everything stored." default:"./data"`
	HTTPListen string `name:"http-listen" help:"Address of REST and WebSocket; empty for no listener of its own." default:""`
	Demo       bool   `name:"core-demo" help:"Install demo accounts and devices at first start." default:"false"`

	PackRecords    int           `name:"core-pack-records" help:"Most records of a partition handled and stored together." default:"2000"`
	PackBytes      int           `name:"core-pack-bytes" help:"Values beyond this many bytes are stored in a batch of their own." default:"4194304"`
	Window         int           `name:"core-window" help:"Most messages of a partition taken on and not yet committed." default:"20000"`
	CommitInterval time.Duration `name:"core-commit-interval" help:"Longest time between a finished pack and its commit." default:"100ms"`
	NodeSlots      int           `name:"core-node-slots" help:"Most rule nodes of a partition waiting for the outside world at once." default:"64"`
	ScriptSlots    int           `name:"core-script-slots" help:"Most rule nodes of a partition waiting for a script at once; fewer where a tenant would have more calls under way than script-tenant-pending." default:"1024"`
	HandOns        int           `name:"core-hand-ons" help:"Most messages of a partition that rule nodes are putting on a queue at once." default:"1024"`
	NodeTimeout    time.Duration `name:"core-node-timeout" help:"Longest time one rule node may work on one message." default:"30s"`
	NodeExecutions int           `name:"core-node-executions" help:"Most rule nodes one message may run through." default:"1000"`
	Retries        int           `name:"core-retries" help:"How often a message of the main queue that failed by its own fault is tried again before it is a dead letter." default:"0"`
	QueuesFile     string        `name:"core-queues" help:"JSON file of queues, as the REST API writes them, beside the standard ones or in their place." default:""`
	RetryBackoff   time.Duration `name:"core-retry-backoff" help:"Pause before the first retry; doubles up to a minute." default:"1s"`
	Copies         int           `name:"core-copies" help:"Most messages of a partition in hand, those that rule nodes make of others counted; beyond, a node that makes several fails." default:"100000"`
	Timers         int           `name:"core-timers" help:"Most messages of a partition that rule nodes keep for later; beyond, they fail." default:"100000"`
	CallBudget     time.Duration `name:"core-call-budget" help:"Longest time the owner of an entity may take for a write of REST." default:"10s"`
	CallSlots      int           `name:"core-call-slots" help:"Most calls of transports answered at once, per partition." default:"32"`
	DrainTimeout   time.Duration `name:"core-drain-timeout" help:"Longest time for what rule nodes are at work on to be finished at a stop; what stands in line is given back." default:"10s"`

	InactivityTimeout time.Duration `name:"core-inactivity-timeout" help:"A device silent for this long is inactive, unless its inactivityTimeout attribute says otherwise." default:"10m"`
	InactivityCheck   time.Duration `name:"core-inactivity-check" help:"How often silence is looked for." default:"60s"`
	StateDevices      int           `name:"core-state-devices" help:"Most devices of a partition whose connectivity is kept in memory." default:"500000"`
	DevicePolls       int           `name:"core-device-polls" help:"Most long polls of one device that are told of what comes; beyond, the oldest is told of nothing." default:"16"`
	Watches           int           `name:"core-watches" help:"Most entities of a partition that other nodes are told of for their users, each node counted." default:"100000"`
	WatchBudget       time.Duration `name:"core-watch-budget" help:"How long a subscription waits for the owner of its entity before it goes on; what it missed follows." default:"1s"`
	DeadLetterScan    int           `name:"core-dead-letter-scan" help:"Most dead letters looked through by one operator's request." default:"100000"`

	StoreCacheBytes  int64         `name:"store-cache-bytes" help:"Memory for blocks read from the store." default:"8388608"`
	StoreMemoryBytes int           `name:"store-memory-bytes" help:"Memory for what was written last, per table; about three are in use." default:"8388608"`
	StoreReserve     int64         `name:"disk-reserve" help:"Bytes of disk that stay free: below, uplinks are refused as unavailable." default:"268435456"`
	StoreSweep       time.Duration `name:"store-sweep" help:"How often expired rows are removed." default:"10m"`
	PasswordQueue    int           `name:"password-queue" help:"Most passwords waiting to be hashed; two are at a time." default:"32"`

	// NodeID names this node in the fleet; the program sets it.
	NodeID string `settings:"-"`

	Trace     trace.Settings     `embed:""`
	Cassandra cassandra.Settings `embed:""`
	Scripts   script.Config      `embed:""`
	Ring      ring.Settings      `embed:""`
	Relations relation.Settings  `embed:""`
	Alarms    alarm.Settings     `embed:""`
	Claims    claim.Settings     `embed:""`
	Events    event.Settings     `embed:""`
	Outside   outside.Settings   `embed:""`
	RPC       rpc.Settings       `embed:""`
	Blobs     blobSettings       `embed:""`
	OTA       ota.Settings       `embed:""`
	REST      httpapi.Settings   `embed:""`
	Auth      auth.Settings      `embed:""`
	WebSocket websocket.Settings `embed:""`
}

func (c Config) validate() error {
	for name, value := range map[string]int{
		"core-pack-records": c.PackRecords, "core-pack-bytes": c.PackBytes, "core-window": c.Window,
		"core-node-slots": c.NodeSlots, "core-script-slots": c.ScriptSlots, "core-hand-ons": c.HandOns, "core-timers": c.Timers, "core-copies": c.Copies, "core-call-slots": c.CallSlots, "core-state-devices": c.StateDevices,
		"core-device-polls": c.DevicePolls, "core-dead-letter-scan": c.DeadLetterScan,
		"core-relations-found": c.Relations.Found, "core-relation-levels": c.Relations.MaxLevel,
		"core-alarm-scan": c.Alarms.Scan, "core-alarm-places": c.Alarms.Places, "core-alarm-details": c.Alarms.Details,
		"event-pending": c.Events.Pending, "event-body-bytes": c.Events.BodyBytes, "event-scan": c.Events.Scan, "event-ttl": int(c.Events.TTL),
		"core-watches": c.Watches, "core-watch-budget": int(c.WatchBudget),
	} {
		if value <= 0 {
			return fmt.Errorf("--%s: %d is not a positive number", name, value)
		}
	}
	if c.Store == storePebble && c.DataDir == "" {
		return errors.New("--data: a folder is needed")
	}
	return errors.Join(c.Outside.Validate(), c.Claims.Validate(), c.Ring.Validate(), c.RPC.Validate(), c.OTA.Validate(), c.Blobs.validate())
}

// queues returns the queues of rule messages, the main one first.
func (c Config) queues() ([]queue.Queue, error) {
	standard := queue.Standard(c.Retries, c.RetryBackoff)
	if c.QueuesFile == "" {
		return standard, nil
	}
	queues, err := queue.Read(c.QueuesFile, standard)
	if err != nil {
		return nil, fmt.Errorf("--core-queues: %w", err)
	}
	return queues, nil
}

// FurtherQueues returns the names of the queues there are beside the standard ones: each needs a topic.
func (c Config) FurtherQueues() ([]string, error) {
	queues, err := c.queues()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, q := range queues[len(queue.Standard(0, 0)):] {
		names = append(names, q.Name)
	}
	return names, nil
}

func (c Config) ingest() ingest.Config {
	return ingest.Config{
		PackRecords: c.PackRecords, PackBytes: c.PackBytes, Window: c.Window, CommitInterval: c.CommitInterval,
		NodeSlots: c.NodeSlots, ScriptSlots: c.ScriptSlots, ScriptCalls: c.Scripts.TenantPending, HandOns: c.HandOns, NodeTimeout: c.NodeTimeout, NodeExecutions: c.NodeExecutions,
		Trace: c.Trace, Timers: c.Timers, Copies: c.Copies, DrainTimeout: c.DrainTimeout, Watches: c.Watches, RPC: c.RPC,
		State: state.Config{
			Timeout: c.InactivityTimeout, Check: c.InactivityCheck,
			Devices: c.StateDevices, Polls: c.DevicePolls,
		},
	}
}
