package rulechain

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Member is a chain of a bundle. Its ID is of the bundle only: others of the bundle refer to it.
type Member struct {
	ID       ident.ID
	External ident.ID
	rule.Document
}

// Export returns the tenant's first limit chains of type CORE, under ids of the bundle's own, without ids of nodes. A bundle
// of more than most bytes is refused.
func (l *Library) Export(ctx context.Context, tenant ident.TenantID, limit, most int) ([]Member, error) {
	found, err := l.Chains.List(ctx, tenant, entity.CoreChain, entity.PageRequest{Size: limit})
	if err != nil {
		return nil, err
	}
	bundle := make([]Member, 0, len(found.Items))
	ids := make(map[ident.ID]ident.ID, len(found.Items))
	size := 0
	for _, stored := range found.Items {
		if size += len(stored.Metadata); size > most {
			return nil, fault.New(fault.Invalid, fmt.Sprintf("limit: these rule chains have more than %d bytes, ask for fewer", most))
		}
		c, err := l.Read(stored)
		if err != nil {
			return nil, err
		}
		ids[c.ID] = ident.New()
		m := Member{ids[c.ID], c.External, c.document()}
		for i := range m.Metadata.Nodes {
			m.Metadata.Nodes[i].ID, m.Metadata.Nodes[i].CreatedTime = rule.Reference{}, 0
		}
		bundle = append(bundle, m)
	}
	for i := range bundle {
		readdress(&bundle[i].Metadata, ids)
	}
	return bundle, nil
}

// readdress has nodes that enter one of the old ids enter the new one.
func readdress(g *rule.Graph, ids map[ident.ID]ident.ID) {
	for i := range g.Nodes {
		old := entered(g.Nodes[i])
		if id, known := ids[old]; known {
			quoted := []byte(`"` + old.String() + `"`)
			g.Nodes[i].Configuration = bytes.ReplaceAll(g.Nodes[i].Configuration, quoted, []byte(`"`+id.String()+`"`))
		}
	}
	for i := range g.RuleChainConnections {
		target := &g.RuleChainConnections[i].TargetRuleChainID
		if id, known := ids[target.ID]; known {
			target.ID = id
		}
	}
}

// Outcome is what became of one chain of a bundle.
type Outcome struct {
	ID      ident.ID // zero when it failed
	Name    string
	Updated bool // in place of one that was there
	Err     error
}

// Import stores a bundle. Chains get new ids; with overwrite a chain takes the place, and keeps the id, of the tenant's chain of
// its type and name. What is wrong with one chain does not keep the others out; an error of the platform ends the import.
func (l *Library) Import(ctx context.Context, tenant ident.TenantID, bundle []Member, overwrite bool) ([]Outcome, error) {
	places := make([]place, len(bundle))
	ids := make(map[ident.ID]ident.ID, len(bundle))
	for i := range bundle {
		m := &bundle[i]
		places[i] = place{id: ident.New()}
		if err := checkEntry(&m.RuleChain); err != nil {
			places[i].err = err
			continue
		}
		if overwrite {
			held, err := l.Chains.ByName(ctx, tenant, m.RuleChain.Type, m.RuleChain.Name)
			if err == nil {
				places[i] = place{id: held.ID, held: true}
			} else if !errors.Is(err, storage.ErrNotFound) {
				return nil, err
			}
		}
		if !m.ID.IsZero() {
			ids[m.ID] = places[i].id
		}
	}
	outcomes := make([]Outcome, len(bundle))
	for i := range bundle {
		readdress(&bundle[i].Metadata, ids)
		err := l.put(ctx, tenant, bundle[i], places[i])
		if err != nil && fault.KindOf(err) != fault.Invalid {
			return nil, err
		}
		outcomes[i] = Outcome{Name: bundle[i].RuleChain.Name, Err: err}
		if err == nil {
			outcomes[i].ID, outcomes[i].Updated = places[i].id, places[i].held
		}
	}
	return outcomes, nil
}

// place is where a chain of a bundle goes.
type place struct {
	id   ident.ID
	held bool // by a chain that it replaces
	err  error
}

func (l *Library) put(ctx context.Context, tenant ident.TenantID, m Member, to place) error {
	if to.err != nil {
		return to.err
	}
	if !to.held {
		_, err := l.add(ctx, tenant, to.id, m.Document, m.External)
		return err
	}
	stored, err := l.Chains.Change(ctx, tenant, to.id, 0, func(c *entity.RuleChain) error {
		doc := rule.Document{RuleChain: m.RuleChain, Metadata: copied(m.Metadata)}
		if err := l.prepare(ctx, tenant, to.id, &doc, nil); err != nil {
			return err
		}
		var err error
		c.Metadata, err = encode(doc)
		return err
	})
	if err != nil {
		return err
	}
	return l.saved(ctx, stored)
}
