package rule

import (
	"encoding/json"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
)

// Document is a rule chain as people export it, and as it is stored.
type Document struct {
	RuleChain ChainEntry `json:"ruleChain"`
	Metadata  Graph      `json:"metadata"`
}

// ChainEntry is what a Document says of the chain itself.
type ChainEntry struct {
	AdditionalInfo json.RawMessage `json:"additionalInfo,omitempty"`
	Name           string          `json:"name"`
	Type           string          `json:"type,omitempty"` // CORE, EDGE; "" is CORE
	DebugMode      bool            `json:"debugMode"`
	Configuration  json.RawMessage `json:"configuration,omitempty"`
}

// Graph is a chain's nodes and the links between them, by index.
type Graph struct {
	FirstNodeIndex       *int            `json:"firstNodeIndex"`
	Nodes                []NodeEntry     `json:"nodes"`
	Connections          []Connection    `json:"connections"`
	RuleChainConnections []ChainLink     `json:"ruleChainConnections"`
	Notes                json.RawMessage `json:"notes,omitempty"`
}

// NodeEntry is a node of a Graph. Configuration and AdditionalInfo are kept as they came.
type NodeEntry struct {
	ID                   Reference       `json:"id,omitzero"`
	CreatedTime          int64           `json:"createdTime,omitempty"` // ms
	AdditionalInfo       json.RawMessage `json:"additionalInfo,omitempty"`
	Type                 string          `json:"type"`
	Name                 string          `json:"name"`
	DebugMode            bool            `json:"debugMode,omitempty"` // of exports before 3.9
	DebugSettings        *DebugSettings  `json:"debugSettings"`
	SingletonMode        bool            `json:"singletonMode"`
	Queue                string          `json:"queueName,omitempty"`
	ConfigurationVersion int             `json:"configurationVersion"`
	Configuration        json.RawMessage `json:"configuration"`
}

// DebugSettings says which of a node's messages are kept as debug events.
type DebugSettings struct {
	FailuresEnabled bool  `json:"failuresEnabled"`
	AllEnabled      bool  `json:"allEnabled"`
	AllEnabledUntil int64 `json:"allEnabledUntil"` // ms; 0: no end of its own
}

// Reference is an id as the REST API writes it.
type Reference struct {
	EntityType string   `json:"entityType"`
	ID         ident.ID `json:"id"`
}

// UnmarshalJSON takes what is no such id for none: on import ids mean nothing, and where one is needed its absence is
// told of by the name of its field.
func (r *Reference) UnmarshalJSON(text []byte) error {
	var plain struct {
		EntityType string `json:"entityType"`
		ID         string `json:"id"`
	}
	if err := json.Unmarshal(text, &plain); err == nil {
		r.EntityType = plain.EntityType
		if r.ID, err = ident.Parse(plain.ID); err != nil {
			*r = Reference{}
		}
	}
	return nil
}

// Connection is a link between two nodes of a Graph, by index.
type Connection struct {
	FromIndex int    `json:"fromIndex"`
	ToIndex   int    `json:"toIndex"`
	Type      string `json:"type"`
}

// ChainLink is a link to another chain as old exports have it; a node that enters that chain takes its place.
type ChainLink struct {
	FromIndex         int             `json:"fromIndex"`
	TargetRuleChainID Reference       `json:"targetRuleChainId"`
	AdditionalInfo    json.RawMessage `json:"additionalInfo,omitempty"`
	Type              string          `json:"type"`
}

// chainInput is the class of nodes that enter another chain.
const chainInput = "org.thingsboard.rule.engine.flow.TbRuleChainInputNode"

// Unfold puts a node in the place of each of g's links to another chain (rule-engine reference §2.3).
func (g *Graph) Unfold() error {
	for i, old := range g.RuleChainConnections {
		if old.TargetRuleChainID.ID.IsZero() {
			return fmt.Errorf("metadata.ruleChainConnections[%d].targetRuleChainId: an id is needed", i)
		}
		config, err := json.Marshal(map[string]any{"ruleChainId": old.TargetRuleChainID.ID, "forwardMsgToDefaultRuleChain": false})
		if err != nil {
			return fmt.Errorf("metadata.ruleChainConnections[%d]: %w", i, err)
		}
		g.Connections = append(g.Connections, Connection{old.FromIndex, len(g.Nodes), old.Type})
		g.Nodes = append(g.Nodes, NodeEntry{
			Type: chainInput, Name: "Rule Chain Input", ConfigurationVersion: 1, Configuration: config, AdditionalInfo: old.AdditionalInfo,
		})
	}
	g.RuleChainConnections = nil
	return nil
}

// Identify gives each node that has no id one that follows from the chain's and the node's place.
func (g *Graph) Identify(chain ident.ID) {
	for i := range g.Nodes {
		if g.Nodes[i].ID.ID.IsZero() {
			g.Nodes[i].ID = Reference{"RULE_NODE", ident.Derive(chain, fmt.Sprintf("node %d", i))}
		}
	}
}
