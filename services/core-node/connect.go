package corenode

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/calls"
	"github.com/sluice-iot/sluice/services/core-node/internal/deadletter"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi"
	"github.com/sluice-iot/sluice/services/core-node/internal/ingest"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulechain"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode"
	"github.com/sluice-iot/sluice/services/core-node/internal/script"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/trace"
	"github.com/sluice-iot/sluice/services/core-node/internal/websocket"
)

// connect puts the parts together: the message path, then the doors for people.
func (s *Service) connect() (err error) {
	s.scripts, err = script.New(script.Options{Config: s.config.Scripts, Bus: s.bus, Metrics: s.env.Metrics, Log: s.env.Log})
	if err != nil {
		return err
	}
	hub := live.NewHub()
	kinds, services := rulenode.Catalogue(), s.nodeServices()
	s.compiler = rule.NewCompiler(kinds, services)
	s.chains = rule.NewChains(s.entities.RuleChains, profiles{s.entities}, s.compiler)
	s.ingest = ingest.New(s.config.ingest(), ingest.Deps{
		Queues: s.queues, Debug: s.debugged,
		Bus: s.bus, Store: s.store, Rows: s.store, Devices: s.entities.Devices, Assets: s.entities.Assets, Claims: s.claims, Chains: s.chains, Hub: hub,
		Letters: deadletter.Writer{Bus: s.bus}, Metrics: ingest.NewMetrics(s.env.Metrics), Log: s.env.Log, Now: time.Now,
	})
	s.watches = live.NewWatches(live.Options{
		Hub: hub, Bus: s.bus, Values: s.store, Partitions: s.partitions, Here: s.ingest.Owns, Budget: s.config.WatchBudget,
		Metrics: live.NewMetrics(s.env.Metrics), Log: s.env.Log,
	})
	writer := telemetry.Remote{Bus: s.bus, Budget: s.config.CallBudget}
	s.calls = calls.New(calls.Options{
		Bus: s.bus, Entities: s.entities, Relations: s.relations, Values: s.store, Writer: writer,
		Packages: s.packages, Queues: s.queues, Slots: s.config.CallSlots, Log: s.env.Log,
	})

	guard := auth.NewGuard(s.entities)
	reader := history.New(s.store, history.DefaultOptions())
	s.sockets = websocket.New(websocket.Deps{
		Accounts: s.accounts, Guard: guard, Values: s.store, History: reader, Live: s.watches,
		Settings: s.config.WebSocket, Log: s.env.Log, Metrics: s.env.Metrics,
	})
	s.handler = httpapi.New(httpapi.Deps{
		Entities: s.entities, Accounts: s.accounts, Guard: guard, Values: s.store,
		Writer: writer,
		Kinds:  kinds, Scripts: services.Scripts,
		RuleChains: rulechain.New(rulechain.Options{
			Chains: s.entities.RuleChains, Compiler: s.compiler, MaxBytes: s.config.REST.MaxChain, Now: time.Now,
			Saved: s.chainSaved,
		}),
		Requests: rpc.Remote{Bus: s.bus, Budget: s.config.CallBudget}, Asked: rpc.Keeper{Rows: s.store, Retention: s.config.RPC.Retention}, RPC: s.config.RPC,
		Relations: s.relations, Alarms: s.alarms, Events: s.told, Packages: s.packages, Claims: s.claims,
		History: reader, WebSocket: s.sockets, Traces: s.traces(), Queues: s.queues, Partitions: s.partitions, Settings: s.config.REST, Log: s.env.Log, Metrics: s.env.Metrics,
	})
	s.operate()
	return nil
}

// nodeServices is what rule nodes may use.
func (s *Service) nodeServices() rule.Services {
	s.outside = outside.New(outside.Options{Settings: s.config.Outside, Metrics: s.env.Metrics})
	return rule.Services{
		Log: s.env.Log, Now: time.Now, Service: s.config.NodeID, Values: s.store, Eraser: s.store, Entities: s.entities, Relations: s.relations, Alarms: s.alarms,
		Scripts: scripts{s.scripts}, Outside: s.outside,
	}
}

// profiles finds profiles of devices and of assets alike: both name a rule chain.
type profiles struct{ *entity.Registry }

// Profile implements rule.Profiles.
func (p profiles) Profile(ctx context.Context, tenant ident.TenantID, id ident.ID) (entity.Profile, error) {
	found, err := p.Devices.Profile(ctx, tenant, id)
	if !errors.Is(err, storage.ErrNotFound) {
		return found, err
	}
	of, err := p.AssetProfiles.Get(ctx, tenant, id)
	return entity.Profile{ID: of.ID, Tenant: of.Tenant, Name: of.Name, DefaultRuleChain: of.DefaultRuleChain, DefaultQueue: of.DefaultQueue}, err
}

// traces asks what became of messages.
func (s *Service) traces() trace.Asker {
	return trace.Asker{Bus: s.bus, Entities: s.entities, Budget: s.config.CallBudget}
}

// operate gives operators their handles.
func (s *Service) operate() {
	check := s.env.Health.Check
	if s.config.Store != storePebble { // what is in trouble here is in trouble at every node
		check = s.env.Health.CheckShared
	}
	check("store", s.store.Ready)
	check("ingest", s.ingest.Ready)
	if s.env.Admin != nil {
		letters := &deadletter.Log{Bus: s.bus, Most: s.config.DeadLetterScan, Now: time.Now}
		letters.Register(s.env.Admin)
		s.traces().Register(s.env.Admin)
	}
}
