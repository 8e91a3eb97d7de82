// Package httpapitest starts everything behind the doors for people, with a real store in
// memory and this process as the owner of all entities, so that tests come in through HTTP and
// WebSocket as clients do.
package httpapitest

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity/install"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/password"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
	"github.com/sluice-iot/sluice/services/core-node/internal/websocket"
)

// Options changes what a Platform is started with.
type Options struct {
	Auth      auth.Settings
	REST      httpapi.Settings
	WebSocket websocket.Settings
	Now       func() time.Time
}

// Platform is the running doors, with the demo's accounts and devices behind them.
type Platform struct {
	URL      string
	Entities *entity.Registry
	Accounts *auth.Accounts
	Store    storage.Store
	Owner    *Owner
	Hub      *live.Hub
	Metrics  *prometheus.Registry
}

// quiet announces to nobody: there is one node.
type quiet struct{}

func (quiet) Announce(context.Context, *sluicepb.EntityEvent) error { return nil }

// Start starts a Platform; the test's end stops it.
func Start(t testing.TB, change ...func(*Options)) *Platform {
	t.Helper()
	o := Options{Auth: auth.DefaultSettings(), REST: httpapi.DefaultSettings(), WebSocket: websocket.DefaultSettings(), Now: time.Now}
	for _, f := range change {
		f(&o)
	}
	store, err := pebble.Open(pebble.Options{Dir: "store", FS: vfs.NewMem(), DiskReserve: -1})
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	p := &Platform{Store: store, Hub: live.NewHub(), Metrics: prometheus.NewRegistry()}
	p.Owner = &Owner{store: store, hub: p.Hub}
	p.Entities = entity.New(store, entity.Options{Events: quiet{}, Values: store, Now: o.Now})
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
	server := httptest.NewServer(httpapi.New(httpapi.Deps{
		Entities: p.Entities, Accounts: p.Accounts, Guard: guard, Values: p.Store, Writer: p.Owner, History: reader,
		WebSocket: sessions, Settings: o.REST, Log: log, Metrics: p.Metrics, Now: o.Now,
	}))
	p.URL = server.URL
	ctx, cancel := context.WithCancel(context.Background())
	var running errgroup.Group
	running.Go(func() error { return sessions.Run(ctx) })
	running.Go(func() error { return p.Accounts.Run(ctx) })
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
