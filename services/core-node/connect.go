package corenode

import (
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/calls"
	"github.com/sluice-iot/sluice/services/core-node/internal/deadletter"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi"
	"github.com/sluice-iot/sluice/services/core-node/internal/ingest"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/websocket"
)

// connect puts the parts together: the message path, then the doors for people.
func (s *Service) connect() {
	hub := live.NewHub()
	compiler := rule.NewCompiler(rulenode.Catalogue(), rule.Services{Log: s.env.Log, Now: time.Now})
	s.chains = rule.NewChains(s.entities.RuleChains, s.entities.Devices, compiler)
	s.ingest = ingest.New(s.config.ingest(), ingest.Deps{
		Bus: s.bus, Store: s.store, Devices: s.entities.Devices, Chains: s.chains, Hub: hub,
		Letters: deadletter.Writer{Bus: s.bus}, Metrics: ingest.NewMetrics(s.env.Metrics), Log: s.env.Log, Now: time.Now,
	})
	s.watches = live.NewWatches(live.Options{
		Hub: hub, Bus: s.bus, Values: s.store, Partitions: s.partitions, Here: s.ingest.Owns, Budget: s.config.WatchBudget,
		Metrics: live.NewMetrics(s.env.Metrics), Log: s.env.Log,
	})
	s.calls = calls.Calls{Bus: s.bus, Devices: s.entities.Devices, Slots: s.config.CallSlots, Log: s.env.Log}

	guard := auth.NewGuard(s.entities)
	reader := history.New(s.store, history.DefaultOptions())
	s.sockets = websocket.New(websocket.Deps{
		Accounts: s.accounts, Guard: guard, Values: s.store, History: reader, Live: s.watches,
		Settings: s.config.WebSocket, Log: s.env.Log, Metrics: s.env.Metrics,
	})
	s.handler = httpapi.New(httpapi.Deps{
		Entities: s.entities, Accounts: s.accounts, Guard: guard, Values: s.store,
		Writer:  telemetry.Remote{Bus: s.bus, Budget: s.config.CallBudget},
		History: reader, WebSocket: s.sockets, Settings: s.config.REST, Log: s.env.Log, Metrics: s.env.Metrics,
	})
	s.operate()
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
	}
}
