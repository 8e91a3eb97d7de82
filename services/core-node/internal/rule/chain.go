package rule

import (
	"fmt"
	"strings"

	"github.com/sluice-iot/sluice/proto/ident"
)

// Chain is a compiled rule chain. It is immutable and shared by all partitions.
type Chain struct {
	ID     ident.ID
	Tenant ident.TenantID
	Name   string
	// first is the step a message enters at; none when the chain has no entry.
	first int
	steps []step
}

// none is the index of a step that is not there.
const none = -1

// step is one node in its place.
type step struct {
	id       ident.ID
	name     string
	kind     Kind
	node     Node  // nil when it cannot run
	why      error // why node is nil
	waits    Waits
	debug    debug
	links    map[Relation][]int
	anyLinks bool
}

// follow returns the steps that relation leads to.
func (s *step) follow(relation Relation) []int {
	if !s.anyLinks {
		return nil
	}
	if to, ok := s.links[relation]; ok {
		return to
	}
	return s.links[s.spelling(relation)]
}

// find returns the step of a node, none if the chain does not have it (any more).
func (ch *Chain) find(node ident.ID) int {
	for i := range ch.steps {
		if ch.steps[i].id == node {
			return i
		}
	}
	return none
}

// Broken returns why nodes of the chain cannot run, by their name.
func (ch *Chain) Broken() map[string]error {
	broken := map[string]error{}
	for i := range ch.steps {
		if s := &ch.steps[i]; s.why != nil {
			broken[s.name] = s.why
		}
	}
	return broken
}

// EachBroken calls f for every node that cannot run.
func (ch *Chain) EachBroken(f func(node ident.ID, why error)) {
	for i := range ch.steps {
		if s := &ch.steps[i]; s.why != nil {
			f(s.id, s.why)
		}
	}
}

// EachSource calls f for every node that makes messages by itself.
func (ch *Chain) EachSource(f func(node ident.ID, s Source)) {
	for i := range ch.steps {
		if s, ok := ch.steps[i].node.(Source); ok {
			f(ch.steps[i].id, s)
		}
	}
}

func fold(r Relation) Relation { return Relation(strings.ToLower(string(r))) }

// link puts the connections between the steps; identical ones count once.
func (ch *Chain) link(connections []Connection) error {
	seen := make(map[Connection]bool, len(connections))
	for i, c := range connections {
		if err := ch.refuse(i, c); err != nil {
			return err
		}
		from := &ch.steps[c.FromIndex]
		c.Type = string(from.spelling(Relation(c.Type)))
		if seen[c] {
			continue
		}
		seen[c] = true
		from.links[Relation(c.Type)] = append(from.links[Relation(c.Type)], c.ToIndex)
		from.anyLinks = true
	}
	return ch.acyclic()
}

// refuse says what is wrong with the connection of that place; nil if nothing is.
func (ch *Chain) refuse(i int, c Connection) error {
	switch {
	case c.FromIndex < 0 || c.FromIndex >= len(ch.steps):
		return fmt.Errorf("metadata.connections[%d].fromIndex: there is no node %d", i, c.FromIndex)
	case c.ToIndex < 0 || c.ToIndex >= len(ch.steps):
		return fmt.Errorf("metadata.connections[%d].toIndex: there is no node %d", i, c.ToIndex)
	case c.FromIndex == c.ToIndex:
		return fmt.Errorf("metadata.connections[%d]: node %d %q is connected to itself", i, c.FromIndex, ch.steps[c.FromIndex].name)
	case c.Type == "":
		return fmt.Errorf("metadata.connections[%d].type: a relation is needed", i)
	}
	return nil
}

// spelling is how links of this relation are kept: as the node's kind spells it, so that the
// common look-up needs no folding; else in lower case.
func (s *step) spelling(r Relation) Relation {
	for _, known := range s.kind.Relations {
		if strings.EqualFold(string(known), string(r)) {
			return known
		}
	}
	if strings.EqualFold(string(Failure), string(r)) {
		return Failure
	}
	return fold(r)
}

// acyclic refuses circles. It walks with a stack of its own: chains come from people.
func (ch *Chain) acyclic() error {
	entering := make([]int, len(ch.steps))
	for i := range ch.steps {
		for _, to := range ch.steps[i].links {
			for _, t := range to {
				entering[t]++
			}
		}
	}
	var free []int
	for i, n := range entering {
		if n == 0 {
			free = append(free, i)
		}
	}
	left := len(ch.steps)
	for len(free) > 0 {
		i := free[len(free)-1]
		free = free[:len(free)-1]
		left--
		for _, to := range ch.steps[i].links {
			for _, t := range to {
				if entering[t]--; entering[t] == 0 {
					free = append(free, t)
				}
			}
		}
	}
	if left == 0 {
		return nil
	}
	for i, n := range entering {
		if n > 0 {
			return fmt.Errorf("metadata.connections: node %d %q is on a circle, or behind one: circling relations", i, ch.steps[i].name)
		}
	}
	return nil
}
