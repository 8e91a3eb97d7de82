package rule

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
)

// Compiler makes chains of documents.
type Compiler struct {
	kinds    map[string]Kind
	services Services
}

// NewCompiler returns a Compiler for nodes of the catalogue kinds. Which node it is, in services, the compiler fills in.
func NewCompiler(kinds []Kind, services Services) *Compiler {
	byClass := make(map[string]Kind, len(kinds))
	for _, k := range kinds {
		byClass[k.Class] = k
	}
	return &Compiler{byClass, services}
}

// Compile makes a chain of a stored document. What is wrong with it is of kind fault.Invalid and names the node and the
// field. Nodes that cannot run here are no error: the messages that reach them fail.
func (c *Compiler) Compile(tenant ident.TenantID, id ident.ID, stored []byte) (*Chain, error) {
	chain, err := c.compile(tenant, id, stored)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "rule chain", err)
	}
	return chain, nil
}

func (c *Compiler) compile(tenant ident.TenantID, id ident.ID, stored []byte) (*Chain, error) {
	var doc Document
	if err := json.Unmarshal(stored, &doc); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if doc.RuleChain.Name == "" {
		return nil, errors.New("ruleChain.name: a name is needed")
	}
	g := &doc.Metadata
	if err := c.Upgrade(g); err != nil {
		return nil, err
	}
	g.Identify(id)
	chain := &Chain{ID: id, Tenant: tenant, Name: doc.RuleChain.Name, first: none, steps: make([]step, len(g.Nodes))}
	for i := range g.Nodes {
		var err error
		if chain.steps[i], err = c.step(chain, &g.Nodes[i]); err != nil {
			return nil, fmt.Errorf("node %d %q: %w", i, g.Nodes[i].Name, err)
		}
	}
	if err := chain.link(g.Connections); err != nil {
		return nil, err
	}
	if err := g.checkFirst(); err != nil {
		return nil, err
	}
	if g.FirstNodeIndex != nil {
		chain.first = *g.FirstNodeIndex
	}
	return chain, nil
}

func (g *Graph) checkFirst() error {
	if first := g.FirstNodeIndex; first != nil && (*first < 0 || *first >= len(g.Nodes)) {
		return fmt.Errorf("metadata.firstNodeIndex: there is no node %d", *first)
	}
	return nil
}

// Upgrade brings g to what this platform writes: nodes for links to other chains, and the present version of the
// configuration of every known class (rule-engine reference §2.4). Nodes of unknown classes stay as they are.
func (c *Compiler) Upgrade(g *Graph) error {
	if err := g.Unfold(); err != nil {
		return err
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if kind, known := c.kinds[n.Type]; known && kind.New != nil {
			if err := kind.upgrade(n); err != nil {
				return fmt.Errorf("node %d %q: %w", i, n.Name, err)
			}
		}
	}
	return nil
}

// upgrade brings n's configuration to k's present version. One that is no object becomes the default.
func (k Kind) upgrade(n *NodeEntry) error {
	var fields map[string]any
	if err := json.Unmarshal(n.Configuration, &fields); err != nil || fields == nil {
		n.Configuration, n.ConfigurationVersion = k.Default, k.Version
		return nil
	}
	from := n.ConfigurationVersion
	if from >= k.Version {
		return nil
	}
	n.ConfigurationVersion = k.Version
	if k.Upgrade == nil {
		return nil
	}
	k.Upgrade(from, fields, n)
	config, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	n.Configuration = config
	return nil
}

func (c *Compiler) step(chain *Chain, n *NodeEntry) (step, error) {
	s := step{id: n.ID.ID, name: n.Name, debug: n.debug(), links: map[Relation][]int{}}
	if n.Type == "" {
		return step{}, errors.New("type: a class is needed")
	}
	kind, known := c.kinds[n.Type]
	switch {
	case !known:
		s.why = fmt.Errorf("node %q cannot run: its class %s is not known", n.Name, n.Type)
		return s, nil
	case kind.New == nil:
		s.why = fmt.Errorf("node %q cannot run: its class %s is not built yet", n.Name, n.Type)
		return s, nil
	}
	s.kind = kind
	services := c.services
	services.Tenant, services.Chain, services.Node, services.Name, services.Queue = chain.Tenant, chain.ID, s.id, n.Name, n.Queue
	node, err := kind.New(n.Configuration, services)
	switch {
	case errors.Is(err, ErrNotStartable):
		s.why = fmt.Errorf("node %q cannot run: %w", n.Name, err)
		return s, nil
	case err != nil:
		return step{}, fmt.Errorf("configuration: %w", err)
	}
	s.node, s.waits = node, kind.Waits
	if w, ok := node.(Waiter); ok {
		s.waits = w.Waits()
	}
	return s, nil
}
