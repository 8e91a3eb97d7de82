package ingest

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/claim"
	"github.com/sluice-iot/sluice/services/core-node/internal/deadletter"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
	"github.com/sluice-iot/sluice/services/core-node/internal/ring"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
)

// world is a partition with everything around it: a bus in memory, a store in memory whose writes
// can be made to fail, one tenant with the default chain or one of the test's own.
type world struct {
	t       testing.TB
	bus     *memoryBus
	store   *brittle
	rows    storage.Rows
	hub     *live.Hub
	metrics *prometheus.Registry
	config  Config
	claims  claim.Settings
	queues  []queue.Queue
	deps    Deps
	tenant  ident.TenantID
	devices *devices
	chain   []byte
	chainID ident.ID
	kinds   []rule.Kind
	lease   ring.Lease // nil: for ever, in epoch 1
	ring    ring.Static

	stop  context.CancelFunc
	ended chan error
}

func newWorld(t testing.TB) *world {
	t.Helper()
	store, err := pebble.Open(pebble.Options{FS: vfs.NewMem(), Dir: "store", DiskReserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	chain, err := os.ReadFile("../entity/rootchain.json")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, bus: newMemoryBus(1), ring: 1, store: &brittle{Telemetry: store}, rows: store, hub: live.NewHub(), tenant: ident.TenantID{ID: ident.New()},
		devices: &devices{known: map[ident.DeviceID]entity.Device{}}, chain: chain, chainID: ident.New(), kinds: rulenode.Catalogue(),
		queues: queue.Standard(0, time.Millisecond), claims: claim.DefaultSettings(),
		config: Config{
			PackRecords: 2000, PackBytes: 4 << 20, Window: 20_000, CommitInterval: time.Millisecond, NodeSlots: 4, ScriptSlots: 4, ScriptCalls: 4, HandOns: 4,
			NodeTimeout: time.Second, NodeExecutions: 100, DrainTimeout: 5 * time.Second, Watches: 1000, Timers: 1000, Copies: 100_000,
			State: state.Config{Timeout: 10 * time.Minute, Check: time.Minute, Devices: 100_000, Polls: 4},
			RPC:   rpc.DefaultSettings(),
		},
	}
	return w
}

// start runs the partition; it can be stopped and started again.
func (w *world) start() {
	w.t.Helper()
	w.metrics = prometheus.NewRegistry()
	compiler := rule.NewCompiler(w.kinds, rule.Services{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	w.deps = Deps{
		Bus: w.bus, Store: w.store, Rows: w.rows, Devices: w.devices, Assets: noAssets{}, Claims: claim.New(w.rows, w.claims, nil), Chains: rule.NewChains(w, w.devices, compiler), Hub: w.hub,
		Letters: deadletter.Writer{Bus: w.bus}, Metrics: NewMetrics(w.metrics), Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Queues: w.queues, Debug: func(rule.Debugged) {},
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop, w.ended = stop, make(chan error, 1)
	g := New(w.config, w.deps)
	if w.lease != nil {
		go func() { w.ended <- g.Own(ctx, w.lease) }()
	} else {
		go func() { w.ended <- w.ring.Run(ctx, g.Own, nobody) }()
	}
	w.t.Cleanup(w.halt)
}

func (w *world) halt() {
	if w.stop == nil {
		return
	}
	w.stop()
	w.stop = nil
	if err := <-w.ended; err != nil {
		w.t.Errorf("stop: %v", err)
	}
}

// RootChain implements entity.RuleChains.
func (w *world) RootChain(context.Context, ident.TenantID) (entity.RuleChain, error) {
	return entity.RuleChain{ID: w.chainID, Tenant: w.tenant, Name: "Root", Root: true, Metadata: w.chain}, nil
}

// Chain implements entity.RuleChains.
func (w *world) Chain(ctx context.Context, tenant ident.TenantID, _ ident.ID) (entity.RuleChain, error) {
	return w.RootChain(ctx, tenant)
}

func (w *world) device(name string) entity.Device {
	d := entity.Device{ID: ident.DeviceID{ID: ident.New()}, Tenant: w.tenant, Name: name, Type: "default", CreatedTime: time.Now().UnixMilli()}
	w.devices.mu.Lock()
	defer w.devices.mu.Unlock()
	w.devices.known[d.ID] = d
	return d
}

func (w *world) uplink(d entity.Device, records ...telemetry.Record) *telemetry.Uplink {
	return &telemetry.Uplink{
		Tenant: d.Tenant, Device: d.ID, DeviceName: d.Name, DeviceType: d.Type, ID: telemetry.MessageID(ident.New()),
		ReceivedAt: time.Now().UnixMicro(), Telemetry: records,
	}
}

func (w *world) send(u *telemetry.Uplink) {
	w.publish(bus.Message{Topic: topics.RuleEngine, Key: u.Device.ID[:], Value: telemetry.AppendUplink(nil, u)})
}

func (w *world) publish(m bus.Message) {
	w.t.Helper()
	if err := w.bus.Publish(m, func(error) {}); err != nil {
		w.t.Fatal(err)
	}
}

func reading(at int64, key string, v telemetry.Value) telemetry.Record {
	return telemetry.Record{Time: at, OwnTime: true, Values: []telemetry.KeyValue{{Key: key, Value: v}}}
}

// points returns a stored series.
func (w *world) points(d entity.Device, key string) []storage.Point {
	w.t.Helper()
	var all []storage.Point
	for p, err := range w.store.Range(w.t.Context(), d.ID.Entity(), key, storage.Span{Start: 0, End: maxTime}, false) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// counted returns a counter or gauge; of a vector the one with the label value.
func (w *world) counted(name, value string) float64 {
	w.t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (value == "" || labelled(m, value)) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

func labelled(m *dto.Metric, value string) bool {
	return len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == value
}

// addsUp holds the law of fates.
func (w *world) addsUp() {
	w.t.Helper()
	taken, sum := w.counted("core_node_messages_taken_total", ""), w.counted("core_node_messages_in_hand", "")
	for _, fate := range []string{fateProcessed, fateDeadLettered, fateRefused, fateGivenBack} {
		sum += w.counted("core_node_messages_total", fate)
	}
	if taken != sum {
		w.t.Errorf("%v messages were taken on, %v have a fate or are in hand", taken, sum)
	}
}

// brittle is a store whose writes fail as the test says.
type brittle struct {
	storage.Telemetry
	mu     sync.Mutex
	refuse func([]storage.Write) error
	writes int
}

func (b *brittle) failing(refuse func([]storage.Write) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = refuse
}

func (b *brittle) Write(ctx context.Context, batch []storage.Write) error {
	b.mu.Lock()
	refuse := b.refuse
	b.writes++
	b.mu.Unlock()
	if refuse != nil {
		if err := refuse(batch); err != nil {
			return err
		}
	}
	return b.Telemetry.Write(ctx, batch)
}

// devices is the tenant's devices; none has a profile.
type devices struct {
	mu    sync.Mutex
	known map[ident.DeviceID]entity.Device
}

func (d *devices) Device(_ context.Context, tenant ident.TenantID, id ident.DeviceID) (entity.Device, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if found, ok := d.known[id]; ok && found.Tenant == tenant {
		return found, nil
	}
	return entity.Device{}, storage.ErrNotFound
}

func (d *devices) CredentialsByID(context.Context, string) (entity.Credentials, error) {
	return entity.Credentials{}, storage.ErrNotFound
}

func (d *devices) Profile(context.Context, ident.TenantID, ident.ID) (entity.Profile, error) {
	return entity.Profile{}, storage.ErrNotFound
}

func (d *devices) EachDevice(_ context.Context, f func(entity.Device) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.known {
		if err := f(one); err != nil {
			return err
		}
	}
	return nil
}

type noAssets struct{}

func (noAssets) Get(context.Context, ident.TenantID, ident.ID) (entity.Asset, error) {
	return entity.Asset{}, storage.ErrNotFound
}

// recordTypes makes a node that notes the type and device of what it is given.
func recordTypes(into *[]string) func(json.RawMessage, rule.Services) (rule.Node, error) {
	return func(json.RawMessage, rule.Services) (rule.Node, error) { return recorder{into}, nil }
}

type recorder struct{ types *[]string }

func (r recorder) Process(_ context.Context, in *rule.Message, _ *rule.Turn) error {
	*r.types = append(*r.types, in.Type+" "+in.Metadata.DeviceName)
	return nil
}

// nobody answers calls; here none come.
func nobody(ctx context.Context, _ int) error {
	<-ctx.Done()
	return nil
}
