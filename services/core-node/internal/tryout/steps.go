package tryout

import (
	"context"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// steps makes of what the engine tells of nodes the ways a message took. It belongs to the engine's goroutine.
type steps struct {
	run   *run
	nodes map[rule.Place]rule.NodeEntry
	in    []*visit // of the flight under way, in order
}

// visit is a message in a node.
type visit struct {
	place   rule.Place
	message *rule.Message
	began   time.Time
	took    time.Duration
	out     []rule.Debugged
}

func (s *steps) begin() { s.in = nil }

// see implements rule.Options.Debug.
func (s *steps) see(d rule.Debugged) {
	place := rule.Place{Chain: d.Chain, Node: d.Node}
	if !d.Out {
		s.in = append(s.in, &visit{place: place, message: d.Message, began: s.now()})
		return
	}
	v := s.left(place, d.Message)
	if v == nil {
		return
	}
	if len(v.out) == 0 && s.run.watch != nil {
		v.took = s.now().Sub(v.began)
	}
	v.out = append(v.out, d)
}

func (s *steps) now() time.Time {
	if s.run.watch == nil {
		return time.Time{}
	}
	return s.run.watch()
}

// left finds the visit that m came of: of that very message, else the first without a way out, else the last.
func (s *steps) left(place rule.Place, m *rule.Message) (found *visit) {
	for _, v := range s.in {
		switch {
		case v.place != place:
		case v.message == m && len(v.out) == 0:
			return v
		case found == nil || len(found.out) > 0:
			found = v
		}
	}
	return found
}

// Classes of nodes that go from chain to chain.
const (
	inputClass  = "org.thingsboard.rule.engine.flow.TbRuleChainInputNode"
	outputClass = "org.thingsboard.rule.engine.flow.TbRuleChainOutputNode"
)

// end returns the steps of the flight, which has ended.
func (s *steps) end(f *rule.Flight) []Step {
	path := f.Path()
	var all []Step
	for i, v := range s.in {
		n := s.node(v.place)
		base := Step{Chain: s.run.chainOf[v.place.Chain], Node: n.Name, Took: float64(v.took.Microseconds()) / 1000}
		if i < len(path) { // both are in order of entry
			base.Stored = path[i].Saved()
		}
		if len(v.out) == 0 {
			all = append(all, base.with(v.message, "ended"))
		}
		for _, d := range v.out {
			went := ""
			switch {
			case d.Relation != "":
			case n.Type == inputClass:
				went = "into"
			case n.Type == outputClass:
				went = "back"
			default:
				went = "raised"
			}
			step := base.with(d.Message, went)
			step.Relation = string(d.Relation)
			if d.Err != nil {
				step.Error = d.Err.Error()
			}
			all = append(all, step)
		}
	}
	return all
}

func (s Step) with(m *rule.Message, went string) Step {
	s.Went, s.Type, s.Metadata, s.Body = went, m.Type, m.Metadata.All(), asJSON(m.Body.Text())
	return s
}

func (s *steps) name(chain, node ident.ID) string {
	return s.node(rule.Place{Chain: chain, Node: node}).Name
}

// node is what the stored chain says of a node; an empty entry if nothing does.
func (s *steps) node(place rule.Place) rule.NodeEntry {
	if s.nodes == nil {
		s.nodes = map[rule.Place]rule.NodeEntry{}
		for id := range s.run.chainOf {
			chain, err := s.run.library.Get(context.Background(), s.run.tenant, id)
			if err != nil {
				continue // its nodes have no names then
			}
			for _, n := range chain.Graph.Nodes {
				s.nodes[rule.Place{Chain: id, Node: n.ID.ID}] = n
			}
		}
	}
	return s.nodes[place]
}
