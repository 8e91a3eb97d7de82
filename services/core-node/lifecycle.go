package corenode

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/event"
	"github.com/sluice-iot/sluice/services/core-node/internal/ingest"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// chainSaved tells of nodes that cannot start as events of theirs (rest-api §2.12), and of sources to their owners.
func (s *Service) chainSaved(ctx context.Context, chain *rule.Chain) error {
	chain.EachBroken(func(node ident.ID, why error) {
		body, err := json.Marshal(event.LifecycleBody{Server: s.config.NodeID, Event: "STARTED", Error: event.Cut(why.Error(), debugText)})
		if err != nil {
			return // texts are always encoded
		}
		s.events.Put(event.Event{
			Tenant: chain.Tenant, Entity: ident.EntityID{Type: ident.RuleNode, ID: node}, Type: event.Lifecycle, Time: time.Now().UnixMilli(), Body: body,
		})
	})
	return ingest.TellSources(ctx, s.bus, chain)
}
