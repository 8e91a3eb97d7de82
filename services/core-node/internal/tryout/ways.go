package tryout

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// ways warns of what is wrong with how nodes are linked, though it may be meant.
func (l *linter) ways(g *rule.Graph, examined []rule.Examined) {
	out := make([]map[string]bool, len(g.Nodes)) // relations linked, in lower case
	for i := range out {
		out[i] = map[string]bool{}
	}
	to := make([][]int, len(g.Nodes))
	for i, c := range g.Connections {
		if c.FromIndex < 0 || c.FromIndex >= len(g.Nodes) || c.ToIndex < 0 || c.ToIndex >= len(g.Nodes) {
			continue
		}
		out[c.FromIndex][strings.ToLower(c.Type)] = true
		to[c.FromIndex] = append(to[c.FromIndex], c.ToIndex)
		if x := examined[c.FromIndex]; x.Known && x.Kind.New != nil && !emits(x.Kind, c.Type) {
			l.about(c.FromIndex, &g.Nodes[c.FromIndex], true, fmt.Errorf("metadata.connections[%d].type: the node never leaves by %q", i, c.Type))
		}
	}
	reached := l.reached(g, examined, to)
	for i := range g.Nodes {
		n, x := &g.Nodes[i], examined[i]
		switch {
		case !reached[i]:
			l.about(i, n, true, errors.New("no message reaches the node"))
		case len(out[i]) == 0 && leadsOn(x):
			l.about(i, n, true, errors.New("nothing is linked to the node: what it finds out is lost"))
		case x.Kind.Category == rule.External && x.Kind.New != nil && !out[i]["failure"]:
			l.about(i, n, true, errors.New("nothing is linked by Failure: when what is outside is away, messages end as dead letters"))
		}
	}
}

// emits reports whether nodes of a kind may leave by a relation.
func emits(k rule.Kind, relation string) bool {
	if k.CustomRelations || strings.EqualFold(relation, string(rule.Failure)) {
		return true
	}
	for _, r := range k.Relations {
		if strings.EqualFold(relation, string(r)) {
			return true
		}
	}
	return false
}

// leadsOn reports whether a node is of no use when nothing follows.
func leadsOn(x rule.Examined) bool {
	switch x.Kind.Category {
	case rule.Filter, rule.Enrichment, rule.Transformation:
		return true
	}
	return false
}

// reached walks from the entry and from the nodes that make messages by themselves.
func (l *linter) reached(g *rule.Graph, examined []rule.Examined, to [][]int) []bool {
	reached := make([]bool, len(g.Nodes))
	var next []int
	enter := func(i int) {
		if !reached[i] {
			reached[i] = true
			next = append(next, i)
		}
	}
	sources := false
	for i, x := range examined {
		if x.Source {
			sources = true
			enter(i)
		}
	}
	if first := g.FirstNodeIndex; first != nil && *first >= 0 && *first < len(g.Nodes) {
		enter(*first)
	} else if first == nil && len(g.Nodes) > 0 && !sources {
		l.problems = append(l.problems, Problem{
			Field: "metadata.firstNodeIndex", Warning: true, Text: "there is none: messages that enter the chain are done with at once",
		})
	}
	for len(next) > 0 {
		i := next[len(next)-1]
		next = next[:len(next)-1]
		for _, t := range to[i] {
			enter(t)
		}
	}
	return reached
}
