// Package httpapi is the REST API people and their programs use: accounts, tenants, users,
// customers, devices, their telemetry and rule chains, as rest-api.md describes it. Each resource has its
// file; a route is one row of its table, naming who may call it. Who asks is known from the
// token alone; what they may touch is auth.Guard's to say.
package httpapi

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/claim"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/event"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/ota"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulechain"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Deps is what the API works with. All are required but WebSocket, Scripts and Now.
type Deps struct {
	Entities *entity.Registry
	Accounts *auth.Accounts
	Guard    *auth.Guard
	Values   storage.Telemetry // read only: writes go through Writer
	Writer   telemetry.Writer
	History  *history.Reader
	// What is kept of entities beside them.
	Relations *relation.Registry
	Alarms    *alarm.Registry
	Events    *event.Reader
	// Requests asks devices, Asked are the persistent requests, RPC is how long they and their callers may wait.
	Requests Requests
	Asked    rpc.Keeper
	RPC      rpc.Settings
	Claims   *claim.Registry
	// RuleChains are the tenants' rule chains, for people to edit.
	RuleChains *rulechain.Library
	// Kinds is the catalogue of rule nodes.
	Kinds []rule.Kind
	// Scripts runs scripts that people try out; nil when there is nothing to run them.
	Scripts rule.Scripts
	// WebSocket serves /api/ws and below; it authenticates by itself.
	WebSocket http.Handler
	// Queues are those of rule messages, each of so many Partitions.
	Queues     []queue.Queue
	Partitions int
	// Packages is firmware and software.
	Packages *ota.Library
	// Traces tells what became of messages.
	Traces   Traces
	Settings Settings
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Now      func() time.Time
}

type api struct {
	Deps
	metrics *metrics
}

// route is one door: roles names who may call it, nil being anyone, logged in or not.
type route struct {
	method, path string
	roles        []entity.Authority
	serve        handler
}

// New returns the handler of everything below /api.
func New(d Deps) http.Handler {
	if d.Now == nil {
		d.Now = time.Now
	}
	a := &api{Deps: d, metrics: newMetrics(d.Metrics)}
	r := chi.NewRouter()
	for _, one := range a.routes() {
		r.Method(one.method, one.path, a.door(one))
	}
	if d.WebSocket != nil {
		r.Handle("/api/ws", d.WebSocket)
		r.Handle("/api/ws/*", d.WebSocket)
	}
	r.NotFound(a.nowhere(http.StatusNotFound, "Requested path wasn't found!"))
	r.MethodNotAllowed(a.nowhere(http.StatusMethodNotAllowed, "Request method isn't supported!"))
	return a.recovered(r)
}

func (a *api) routes() []route {
	var all []route
	for _, part := range [][]route{
		a.accountRoutes(), a.tenantRoutes(), a.tenantProfileRoutes(), a.userRoutes(), a.customerRoutes(),
		a.deviceRoutes(), a.deviceListRoutes(), a.deviceKindRoutes(), a.deviceImportRoutes(),
		a.credentialsRoutes(), a.claimRoutes(), a.profileRoutes(),
		a.telemetryRoutes(), a.telemetryWriteRoutes(), a.ruleChainRoutes(), a.componentRoutes(), a.scriptRoutes(),
		a.assetRoutes(), a.assetProfileRoutes(), a.relationRoutes(), a.relationListRoutes(), a.relatedRoutes(),
		a.alarmRoutes(), a.alarmListRoutes(), a.eventRoutes(),
		a.traceRoutes(), a.queueRoutes(), a.rpcRoutes(), a.packageRoutes(),
	} {
		all = append(all, part...)
	}
	return all
}

// nowhere answers paths and methods there are not. Whoever is not logged in learns nothing of what there is.
func (a *api) nowhere(status int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.principal(r); err != nil {
			a.fail(w, r, err)
			return
		}
		a.metrics.count("none", status)
		code := codeNotFound
		if status == http.StatusMethodNotAllowed {
			code = codeBadRequest
		}
		a.writeError(w, status, code, message)
	}
}

// Who may call a route.
func system() []entity.Authority { return []entity.Authority{entity.SysAdmin} }

func tenants() []entity.Authority {
	return []entity.Authority{entity.TenantAdmin}
}
func admins() []entity.Authority { return []entity.Authority{entity.SysAdmin, entity.TenantAdmin} }
func tenantUsers() []entity.Authority {
	return []entity.Authority{entity.TenantAdmin, entity.CustomerUser}
}

func everyone() []entity.Authority {
	return []entity.Authority{entity.SysAdmin, entity.TenantAdmin, entity.CustomerUser}
}

func invalid(field, reason string) error { return fault.New(fault.Invalid, field+": "+reason) }
