package rule

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
)

// Chain is a compiled rule chain. It is immutable and shared by all partitions.
type Chain struct {
	ID   ident.ID
	Name string
	// first is the step a message enters at; none when the chain has no entry.
	first int
	steps []step
}

// none is the index of a step that is not there.
const none = -1

// step is one node in its place.
type step struct {
	name     string
	kind     Kind
	node     Node  // nil when it cannot run
	why      error // why node is nil
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

func fold(r Relation) Relation { return Relation(strings.ToLower(string(r))) }

// Document is a rule chain as people export it.
type Document struct {
	RuleChain struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"ruleChain"`
	Metadata struct {
		FirstNodeIndex       *int         `json:"firstNodeIndex"`
		Nodes                []NodeEntry  `json:"nodes"`
		Connections          []Connection `json:"connections"`
		RuleChainConnections []ChainLink  `json:"ruleChainConnections"`
	} `json:"metadata"`
}

// NodeEntry is a node of a Document.
type NodeEntry struct {
	Type                 string          `json:"type"`
	Name                 string          `json:"name"`
	ConfigurationVersion int             `json:"configurationVersion"`
	Configuration        json.RawMessage `json:"configuration"`
}

// Connection is a link between two nodes of a Document, by index.
type Connection struct {
	FromIndex int    `json:"fromIndex"`
	ToIndex   int    `json:"toIndex"`
	Type      string `json:"type"`
}

// ChainLink is a link to another chain as old exports have it; a node that enters that chain takes its place.
type ChainLink struct {
	FromIndex         int    `json:"fromIndex"`
	Type              string `json:"type"`
	TargetRuleChainID struct {
		ID string `json:"id"`
	} `json:"targetRuleChainId"`
}

// Compiler makes chains of documents.
type Compiler struct {
	kinds    map[string]Kind
	services Services
}

// NewCompiler returns a Compiler for nodes of the catalogue kinds.
func NewCompiler(kinds []Kind, services Services) *Compiler {
	byClass := make(map[string]Kind, len(kinds))
	for _, k := range kinds {
		byClass[k.Class] = k
	}
	return &Compiler{byClass, services}
}

// Compile reads an exported chain. What is wrong with it is of kind fault.Invalid and names the node and the
// field. Nodes that cannot run here are no error: the messages that reach them fail.
func (c *Compiler) Compile(id ident.ID, exported []byte) (*Chain, error) {
	chain, err := c.compile(id, exported)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "rule chain", err)
	}
	return chain, nil
}

func (c *Compiler) compile(id ident.ID, exported []byte) (*Chain, error) {
	var doc Document
	if err := json.Unmarshal(exported, &doc); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if doc.RuleChain.Name == "" {
		return nil, errors.New("ruleChain.name: a name is needed")
	}
	nodes, links, err := unfold(doc)
	if err != nil {
		return nil, err
	}
	chain := &Chain{ID: id, Name: doc.RuleChain.Name, first: none, steps: make([]step, len(nodes))}
	for i, entry := range nodes {
		if chain.steps[i], err = c.step(entry); err != nil {
			return nil, fmt.Errorf("node %d %q: %w", i, entry.Name, err)
		}
	}
	if err := chain.link(links); err != nil {
		return nil, err
	}
	if first := doc.Metadata.FirstNodeIndex; first != nil {
		if *first < 0 || *first >= len(nodes) {
			return nil, fmt.Errorf("metadata.firstNodeIndex: there is no node %d", *first)
		}
		chain.first = *first
	}
	return chain, nil
}

// chainInput is the class of nodes that enter another chain.
const chainInput = "org.thingsboard.rule.engine.flow.TbRuleChainInputNode"

// unfold returns doc's nodes and links, with a node in the place of each link to another chain.
func unfold(doc Document) ([]NodeEntry, []Connection, error) {
	nodes, links := doc.Metadata.Nodes, doc.Metadata.Connections
	for i, old := range doc.Metadata.RuleChainConnections {
		if _, err := ident.Parse(old.TargetRuleChainID.ID); err != nil {
			return nil, nil, fmt.Errorf("metadata.ruleChainConnections[%d].targetRuleChainId: %w", i, err)
		}
		config, err := json.Marshal(map[string]any{"ruleChainId": old.TargetRuleChainID.ID, "forwardMsgToDefaultRuleChain": false})
		if err != nil {
			return nil, nil, fmt.Errorf("metadata.ruleChainConnections[%d]: %w", i, err)
		}
		links = append(links[:len(links):len(links)], Connection{old.FromIndex, len(nodes), old.Type})
		nodes = append(nodes[:len(nodes):len(nodes)], NodeEntry{
			Type: chainInput, Name: "Rule Chain Input", ConfigurationVersion: 1, Configuration: config,
		})
	}
	return nodes, links, nil
}

func (c *Compiler) step(entry NodeEntry) (step, error) {
	s := step{name: entry.Name, links: map[Relation][]int{}}
	if entry.Type == "" {
		return step{}, errors.New("type: a class is needed")
	}
	kind, known := c.kinds[entry.Type]
	switch {
	case !known:
		s.why = fmt.Errorf("node %q cannot run: its class %s is not known", entry.Name, entry.Type)
		return s, nil
	case kind.New == nil:
		s.why = fmt.Errorf("node %q cannot run: its class %s is not built yet", entry.Name, entry.Type)
		return s, nil
	}
	s.kind = kind
	config, err := upgrade(kind, entry)
	if err != nil {
		return step{}, err
	}
	node, err := kind.New(config, c.services)
	switch {
	case errors.Is(err, ErrNotStartable):
		s.why = fmt.Errorf("node %q cannot run: %w", entry.Name, err)
		return s, nil
	case err != nil:
		return step{}, fmt.Errorf("configuration: %w", err)
	}
	s.node = node
	return s, nil
}

// upgrade brings a configuration to its kind's present version. One that is absent becomes the default.
func upgrade(kind Kind, entry NodeEntry) (json.RawMessage, error) {
	if len(entry.Configuration) == 0 || string(entry.Configuration) == "null" {
		return kind.Default, nil
	}
	if entry.ConfigurationVersion >= kind.Version || kind.Upgrade == nil {
		return entry.Configuration, nil
	}
	var fields map[string]any
	if err := json.Unmarshal(entry.Configuration, &fields); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	kind.Upgrade(entry.ConfigurationVersion, fields)
	config, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return config, nil
}

// link puts the connections between the steps; identical ones count once.
func (ch *Chain) link(connections []Connection) error {
	seen := make(map[Connection]bool, len(connections))
	for i, c := range connections {
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
			return fmt.Errorf("metadata.connections: node %d %q is on a circle, or behind one", i, ch.steps[i].name)
		}
	}
	return nil
}
