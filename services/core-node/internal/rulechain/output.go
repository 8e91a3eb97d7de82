package rulechain

import (
	"context"
	"fmt"
	"slices"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

func invalid(err error) error { return fault.Wrap(fault.Invalid, err.Error(), err) }

// Labels returns the names of a chain's output nodes, in order: relations of the nodes that enter it.
func (c Chain) Labels() []string {
	labels := []string{}
	for _, n := range c.Graph.Nodes {
		if n.Type == outputClass {
			labels = append(labels, n.Name)
		}
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// Usage is a node that enters a chain, and the relations it has there.
type Usage struct {
	Chain     ident.ID
	ChainName string
	Node      ident.ID
	NodeName  string
	Labels    []string
}

// Usages returns the nodes of the tenant's chains that enter a chain.
func (l *Library) Usages(ctx context.Context, tenant ident.TenantID, id ident.ID) ([]Usage, error) {
	var usages []Usage
	err := l.Chains.Each(ctx, tenant, func(stored entity.RuleChain) error {
		c, err := l.Read(stored)
		if err != nil {
			return err
		}
		for i, n := range c.Graph.Nodes {
			if entered(n) != id {
				continue
			}
			u := Usage{Chain: c.ID, ChainName: c.Name, Node: n.ID.ID, NodeName: n.Name, Labels: []string{}}
			for _, link := range c.Graph.Connections {
				if link.FromIndex == i && !slices.Contains(u.Labels, link.Type) {
					u.Labels = append(u.Labels, link.Type)
				}
			}
			usages = append(usages, u)
		}
		return nil
	})
	return usages, err
}

// renamed returns the new names of output nodes by their old ones. A name that became two, or that is still there, is left out.
func renamed(before, after []rule.NodeEntry) map[string]string {
	old := map[ident.ID]string{}
	for _, n := range before {
		if n.Type == outputClass {
			old[n.ID.ID] = n.Name
		}
	}
	names := map[string]string{}
	for _, n := range after {
		was, known := old[n.ID.ID]
		if n.Type != outputClass || !known || was == n.Name {
			continue
		}
		if to, twice := names[was]; twice && to != n.Name {
			names[was] = ""
		} else {
			names[was] = n.Name
		}
	}
	for _, n := range after {
		if n.Type == outputClass {
			delete(names, n.Name)
		}
	}
	for was, to := range names {
		if to == "" {
			delete(names, was)
		}
	}
	return names
}

// rename gives links of nodes that enter a chain their new names.
func (l *Library) rename(ctx context.Context, tenant ident.TenantID, id ident.ID, names map[string]string) error {
	if len(names) == 0 {
		return nil
	}
	usages, err := l.Usages(ctx, tenant, id)
	if err != nil {
		return fmt.Errorf("find the chains that enter %v: %w", id, err)
	}
	done := map[ident.ID]bool{}
	for _, u := range usages {
		if done[u.Chain] {
			continue
		}
		done[u.Chain] = true
		_, err := l.Chains.Change(ctx, tenant, u.Chain, 0, func(c *entity.RuleChain) error {
			related, err := l.Read(*c)
			if err != nil {
				return err
			}
			relabel(&related.Graph, id, names)
			c.Metadata, err = encode(related.document())
			return err
		})
		if err != nil {
			return fmt.Errorf("rename links of rule chain %v: %w", u.Chain, err)
		}
	}
	return nil
}

func relabel(g *rule.Graph, id ident.ID, names map[string]string) {
	for i := range g.Connections {
		c := &g.Connections[i]
		if to, is := names[c.Type]; is && entered(g.Nodes[c.FromIndex]) == id {
			c.Type = to
		}
	}
	sortLinks(g)
}
