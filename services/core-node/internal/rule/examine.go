package rule

import (
	"github.com/sluice-iot/sluice/proto/ident"
)

// Examined is a node that was looked at by itself. Of the two errors at most one is set.
type Examined struct {
	Kind  Kind // zero for a class that is not known
	Known bool
	// Refused is why a chain with this node is not taken; it begins with the field.
	Refused error
	// Broken is why the chain is taken, and messages that reach the node fail.
	Broken error
	// Source: the node makes messages by itself.
	Source bool
}

// Examine looks at one node of a document as Compile does, bringing it to the present version, whatever is wrong with the rest.
func (c *Compiler) Examine(tenant ident.TenantID, chain ident.ID, n *NodeEntry) Examined {
	kind, known := c.kinds[n.Type]
	x := Examined{Kind: kind, Known: known}
	if known && kind.New != nil {
		if x.Refused = kind.upgrade(n); x.Refused != nil {
			return x
		}
	}
	s, err := c.step(&Chain{ID: chain, Tenant: tenant}, n)
	x.Refused, x.Broken = err, s.why
	_, x.Source = s.node.(Source)
	return x
}

// LinkFaults returns everything that is wrong with g's links and its entry: each names the field. Links to other chains are not looked at: Unfold is.
func (g *Graph) LinkFaults() []error {
	ch := &Chain{steps: make([]step, len(g.Nodes))}
	for i := range g.Nodes {
		ch.steps[i] = step{name: g.Nodes[i].Name, links: map[Relation][]int{}}
	}
	var faults []error
	var sound []Connection
	for i, c := range g.Connections {
		if err := ch.refuse(i, c); err != nil {
			faults = append(faults, err)
			continue
		}
		sound = append(sound, c)
	}
	if err := ch.link(sound); err != nil {
		faults = append(faults, err)
	}
	if err := g.checkFirst(); err != nil {
		faults = append(faults, err)
	}
	return faults
}
