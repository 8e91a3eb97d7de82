package rulechain

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Classes of nodes that go from chain to chain.
const (
	inputClass  = "org.thingsboard.rule.engine.flow.TbRuleChainInputNode"
	outputClass = "org.thingsboard.rule.engine.flow.TbRuleChainOutputNode"
)

// SaveGraph replaces a chain's nodes and links: nodes with an id of the chain's are updated, others made, absent ones deleted.
// Version 0 overwrites. If related is set, links of other chains that are named after a renamed output node of this one follow.
func (l *Library) SaveGraph(ctx context.Context, tenant ident.TenantID, id ident.ID, version int64, graph rule.Graph, related bool) (Chain, error) {
	var before Chain
	stored, err := l.Chains.Change(ctx, tenant, id, version, func(c *entity.RuleChain) (err error) {
		if before, err = l.Read(*c); err != nil {
			return err
		}
		doc := rule.Document{RuleChain: before.Entry, Metadata: copied(graph)}
		if err := l.prepare(ctx, tenant, id, &doc, before.Graph.Nodes); err != nil {
			return err
		}
		c.Metadata, err = encode(doc)
		return err
	})
	if err != nil {
		return Chain{}, err
	}
	if err := l.saved(ctx, stored); err != nil {
		return Chain{}, err
	}
	saved, err := l.Read(stored)
	if err != nil || !related {
		return saved, err
	}
	return saved, l.rename(ctx, tenant, id, renamed(before.Graph.Nodes, saved.Graph.Nodes))
}

// copied returns g with lists of its own: a change may be applied twice.
func copied(g rule.Graph) rule.Graph {
	g.Nodes, g.Connections = slices.Clone(g.Nodes), slices.Clone(g.Connections)
	g.RuleChainConnections = slices.Clone(g.RuleChainConnections)
	return g
}

// prepare makes of a document somebody sent what is stored: upgraded, valid, in order, every node with an id. existing are the
// nodes there were.
func (l *Library) prepare(ctx context.Context, tenant ident.TenantID, id ident.ID, doc *rule.Document, existing []rule.NodeEntry) error {
	g := &doc.Metadata
	sent := len(g.Nodes)
	if err := l.Compiler.Upgrade(g); err != nil {
		return invalid(err)
	}
	if err := l.nameInputs(ctx, tenant, g.Nodes[sent:]); err != nil {
		return err
	}
	l.identify(g.Nodes, existing)
	if err := l.compile(tenant, id, *doc); err != nil {
		return err
	}
	arrange(g, existing)
	return nil
}

// nameInputs names nodes that took the place of a link to another chain after that chain.
func (l *Library) nameInputs(ctx context.Context, tenant ident.TenantID, made []rule.NodeEntry) error {
	for i := range made {
		target, err := l.Chains.Chain(ctx, tenant, entered(made[i]))
		switch {
		case err == nil:
			made[i].Name = target.Name
		case !errors.Is(err, storage.ErrNotFound):
			return err
		}
	}
	return nil
}

// entered is the chain that an input node enters; zero for other nodes.
func entered(n rule.NodeEntry) ident.ID {
	var config struct {
		RuleChainID string `json:"ruleChainId"`
	}
	if n.Type != inputClass || json.Unmarshal(n.Configuration, &config) != nil {
		return ident.ID{}
	}
	id, err := ident.Parse(config.RuleChainID)
	if err != nil {
		return ident.ID{}
	}
	return id
}

// identify keeps the ids of nodes there were, once each, and gives the others new ones: ids of elsewhere mean nothing here.
func (l *Library) identify(nodes, existing []rule.NodeEntry) {
	created := make(map[ident.ID]int64, len(existing))
	for _, n := range existing {
		created[n.ID.ID] = n.CreatedTime
	}
	for i := range nodes {
		n := &nodes[i]
		at, known := created[n.ID.ID]
		if known {
			delete(created, n.ID.ID)
		} else {
			n.ID.ID, at = ident.New(), l.Now().UnixMilli()
		}
		n.ID.EntityType, n.CreatedTime = ident.RuleNode.String(), at
	}
}

// arrange puts the nodes there were first, in the order they had, then the new ones; and the links in order of their ends
// (rule-engine reference §2.3). g is valid.
func arrange(g *rule.Graph, existing []rule.NodeEntry) {
	place := make(map[ident.ID]int, len(existing))
	for i, n := range existing {
		place[n.ID.ID] = i
	}
	rank := func(i int) int {
		if p, known := place[g.Nodes[i].ID.ID]; known {
			return p
		}
		return len(existing) + i
	}
	order := make([]int, len(g.Nodes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(rank(a), rank(b)) })
	nodes, now := make([]rule.NodeEntry, len(order)), make([]int, len(order))
	for to, from := range order {
		nodes[to], now[from] = g.Nodes[from], to
	}
	g.Nodes = nodes
	if g.FirstNodeIndex != nil {
		first := now[*g.FirstNodeIndex]
		g.FirstNodeIndex = &first
	}
	for i := range g.Connections {
		c := &g.Connections[i]
		c.FromIndex, c.ToIndex = now[c.FromIndex], now[c.ToIndex]
	}
	sortLinks(g)
}

// sortLinks puts the links in order; identical ones count once.
func sortLinks(g *rule.Graph) {
	slices.SortFunc(g.Connections, func(a, b rule.Connection) int {
		return cmp.Or(cmp.Compare(a.FromIndex, b.FromIndex), cmp.Compare(a.ToIndex, b.ToIndex), cmp.Compare(a.Type, b.Type))
	})
	g.Connections = slices.Compact(g.Connections)
}
