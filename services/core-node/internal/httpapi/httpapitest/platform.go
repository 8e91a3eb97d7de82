// Package httpapitest starts everything behind the doors for people, with a real store in
// memory and this process as the owner of all entities, so that tests come in through HTTP and
// WebSocket as clients do.
package httpapitest

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob/folder"
	"github.com/sluice-iot/sluice/services/core-node/internal/claim"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity/install"
	"github.com/sluice-iot/sluice/services/core-node/internal/event"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/ota"
	"github.com/sluice-iot/sluice/services/core-node/internal/password"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulechain"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
	"github.com/sluice-iot/sluice/services/core-node/internal/websocket"
)

// Options changes what a Platform is started with.
type Options struct {
	Auth      auth.Settings
	REST      httpapi.Settings
	OTA       ota.Settings
	WebSocket websocket.Settings
	Claims    claim.Settings
	Scripts   rule.Scripts // nil: there is nothing to run them
	Now       func() time.Time
}

// Platform is the running doors, with the demo's accounts and devices behind them.
type Platform struct {
	URL      string
	Entities *entity.Registry
	Accounts *auth.Accounts
	Store    storage.Store
	Packages *ota.Library
	Blobs    string // the folder of the data of packages
	Owner    *Owner
	Requests *Requests
	Hub      *live.Hub
	// What is kept of entities beside them, and what their rule chains were told.
	Relations *relation.Registry
	Alarms    *alarm.Registry
	Claims    *claim.Registry
	Changes   *Changes
	Metrics   *prometheus.Registry
}

// partitions is how many the journal of packages is spread over.
const partitions = 2

// quiet announces to nobody: there is one node.
type quiet struct{}

func (quiet) Announce(context.Context, *sluicepb.EntityEvent) error { return nil }

// Changes is what rule chains were told of.
type Changes struct {
	mu  sync.Mutex
	all []entity.Change
}

// Happened implements entity.Lifecycle.
func (c *Changes) Happened(_ context.Context, change entity.Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, change)
	return nil
}

// Take returns what was told since the last Take.
func (c *Changes) Take() []entity.Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.all
	c.all = nil
	return taken
}

// Start starts a Platform; the test's end stops it.
func Start(t testing.TB, change ...func(*Options)) *Platform {
	t.Helper()
	o := Options{Auth: auth.DefaultSettings(), REST: httpapi.DefaultSettings(), OTA: ota.DefaultSettings(), Claims: claim.DefaultSettings(), WebSocket: websocket.DefaultSettings(), Now: time.Now}
	for _, f := range change {
		f(&o)
	}
	store, err := pebble.Open(pebble.Options{Dir: "store", FS: vfs.NewMem(), DiskReserve: -1})
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	p := &Platform{Store: store, Hub: live.NewHub(), Metrics: prometheus.NewRegistry()}
	p.Owner = &Owner{store: store, hub: p.Hub}
	p.Requests = newRequests(store)
	p.Relations = relation.New(store, relation.DefaultSettings())
	p.Alarms = alarm.New(alarm.Options{Store: store, Relations: p.Relations, Now: o.Now})
	p.Claims = claim.New(store, o.Claims, o.Now)
	p.Changes = &Changes{}
	p.Blobs = t.TempDir()
	p.Packages = ota.New(ota.Options{
		Blobs: folder.New(folder.Options{Dir: p.Blobs}), Rows: store, Values: store, Writer: p.Owner, Partitions: partitions, Settings: o.OTA,
		Log: slog.New(slog.DiscardHandler), Metrics: ota.NewMetrics(p.Metrics), Now: o.Now,
	})
	p.Entities = entity.New(store, entity.Options{
		Events: quiet{}, Lifecycle: p.Changes, Values: store, Attached: []entity.Attached{p.Relations, p.Alarms, p.Packages, p.Claims}, Assignments: p.Packages, Now: o.Now,
	})
	p.Packages.Over(p.Entities)
	if err := install.Demo(t.Context(), p.Entities); err != nil {
		t.Fatalf("install demo: %v", err)
	}
	key, err := auth.LoadKey(t.Context(), store)
	if err != nil {
		t.Fatalf("load key: %v", err)
	}
	p.Accounts = auth.New(auth.Options{
		Users: p.Entities.Users, Passwords: password.NewHasher(2, 64), Sessions: store, Key: key, Settings: o.Auth, Now: o.Now,
	})
	stopDoors := p.open(t, o)
	t.Cleanup(func() {
		stopDoors()
		if err := store.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	return p
}

// open starts the HTTP server and the WebSocket sessions, and returns what stops them.
func (p *Platform) open(t testing.TB, o Options) (stop func()) {
	log := slog.New(slog.DiscardHandler)
	reader := history.New(p.Store, history.DefaultOptions())
	guard := auth.NewGuard(p.Entities)
	sessions := websocket.New(websocket.Deps{
		Accounts: p.Accounts, Guard: guard, Values: p.Store, History: reader, Live: p.Hub, Settings: o.WebSocket,
		Log: log, Metrics: p.Metrics, Now: o.Now,
	})
	compiler := rule.NewCompiler(rulenode.Catalogue(), rule.Services{Log: log, Now: o.Now, Entities: p.Entities, Values: p.Store, Scripts: o.Scripts})
	chains := rulechain.New(rulechain.Options{Chains: p.Entities.RuleChains, Compiler: compiler, MaxBytes: o.REST.MaxChain, Now: o.Now})
	server := httptest.NewServer(httpapi.New(httpapi.Deps{
		Queues: queue.Standard(0, time.Second), Partitions: partitions, Packages: p.Packages,
		Entities: p.Entities, Accounts: p.Accounts, Guard: guard, Values: p.Store, Writer: p.Owner, History: reader, RuleChains: chains,
		Kinds: rulenode.Catalogue(), Scripts: o.Scripts,
		Requests: p.Requests, Asked: p.Requests.keeper, RPC: rpc.DefaultSettings(),
		Relations: p.Relations, Alarms: p.Alarms, Claims: p.Claims, Events: event.NewReader(p.Store, event.DefaultSettings(), o.Now),
		WebSocket: sessions, Settings: o.REST, Log: log, Metrics: p.Metrics, Now: o.Now,
	}))
	p.URL = server.URL
	ctx, cancel := context.WithCancel(context.Background())
	var running errgroup.Group
	running.Go(func() error { return sessions.Run(ctx) })
	running.Go(func() error { return p.Accounts.Run(ctx) })
	running.Go(func() error { return p.Packages.Run(ctx, func(int) bool { return true }) })
	return func() {
		cancel()
		if err := running.Wait(); err != nil {
			t.Errorf("run the doors: %v", err)
		}
		server.Close()
	}
}

// Demo returns the demo's device of that name.
func (p *Platform) Demo(t testing.TB, name string) entity.Device {
	t.Helper()
	admin, _, err := p.Entities.Users.ByEmail(t.Context(), "tenant@thingsboard.org")
	if err != nil {
		t.Fatalf("find the demo's administrator: %v", err)
	}
	d, err := p.Entities.Devices.ByName(t.Context(), admin.Tenant, name)
	if err != nil {
		t.Fatalf("find device: %v", err)
	}
	return d
}

// Tenant makes a further tenant and an administrator of it who can log in.
func (p *Platform) Tenant(t testing.TB, title, email, pass string) (ident.TenantID, entity.User) {
	t.Helper()
	tenant, err := p.Entities.Tenants.Create(t.Context(), entity.Tenant{Title: title})
	if err != nil {
		t.Fatalf("create tenant: %v", err)
	}
	u := entity.User{Tenant: tenant.ID, Email: email, Authority: entity.TenantAdmin}
	admin, err := p.Entities.Users.CreateActive(t.Context(), u, password.HashPublished(pass))
	if err != nil {
		t.Fatalf("create administrator: %v", err)
	}
	return tenant.ID, admin
}
