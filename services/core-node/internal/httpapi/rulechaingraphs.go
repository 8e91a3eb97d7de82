package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulechain"
)

// graphBody is RuleChainMetaData (rest-api §3.5). In a bundle it has no version.
type graphBody struct {
	RuleChainID          ref               `json:"ruleChainId"`
	Version              *int64            `json:"version"`
	FirstNodeIndex       *int              `json:"firstNodeIndex"`
	Nodes                []nodeBody        `json:"nodes"`
	Connections          []rule.Connection `json:"connections"`
	RuleChainConnections []rule.ChainLink  `json:"ruleChainConnections"`
	Notes                json.RawMessage   `json:"notes"`
}

// nodeBody is RuleNode (rest-api §3.5). In a bundle it has no id and no chain.
type nodeBody struct {
	ID                   *ref                `json:"id"`
	CreatedTime          int64               `json:"createdTime"`
	AdditionalInfo       json.RawMessage     `json:"additionalInfo"`
	RuleChainID          *ref                `json:"ruleChainId"`
	Type                 string              `json:"type"`
	Name                 string              `json:"name"`
	DebugMode            bool                `json:"debugMode,omitempty"` // of exports before 3.9
	DebugSettings        *rule.DebugSettings `json:"debugSettings"`
	SingletonMode        bool                `json:"singletonMode"`
	QueueName            *string             `json:"queueName"`
	ConfigurationVersion int                 `json:"configurationVersion"`
	Configuration        json.RawMessage     `json:"configuration"`
	ExternalID           *ref                `json:"externalId"`
}

func graphView(id ident.ID, g rule.Graph) graphBody {
	view := graphBody{
		RuleChainID: refOf(ident.RuleChain, id), FirstNodeIndex: g.FirstNodeIndex, Nodes: make([]nodeBody, len(g.Nodes)),
		Connections: g.Connections, Notes: g.Notes,
	}
	if none(view.Notes) {
		view.Notes = json.RawMessage("[]")
	}
	for i, n := range g.Nodes {
		view.Nodes[i] = nodeBody{
			ID: optional(ident.RuleNode, n.ID.ID), CreatedTime: n.CreatedTime, AdditionalInfo: objectView(n.AdditionalInfo),
			Type: n.Type, Name: n.Name, DebugMode: n.DebugMode, DebugSettings: n.DebugSettings, SingletonMode: n.SingletonMode,
			QueueName: orNull(n.Queue), ConfigurationVersion: n.ConfigurationVersion, Configuration: objectView(n.Configuration),
		}
		if !n.ID.ID.IsZero() {
			view.Nodes[i].RuleChainID = optional(ident.RuleChain, id)
		}
	}
	return view
}

func storedGraphView(c rulechain.Chain) (any, error) {
	view := graphView(c.ID, c.Graph)
	view.Version = &c.Version
	return verbatim(view)
}

// verbatim shows v with the JSON that people sent in it as they wrote it: <, > and & are not escaped.
func verbatim(v any) (raw, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	return raw(body.Bytes()), nil
}

func (a *api) ruleChainGraph(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.oneRuleChain(r, p)
	if err != nil {
		return nil, err
	}
	return storedGraphView(found)
}

// sentGraph is a RuleChainMetaData somebody sent.
type sentGraph struct {
	RuleChainID *given
	Version     *int64
	rule.Graph
}

func (a *api) saveRuleChainGraph(r *http.Request, p auth.Principal) (any, error) {
	var in sentGraph
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	id, err := in.RuleChainID.id("ruleChainId", ident.RuleChain)
	if err != nil {
		return nil, err
	}
	if id.IsZero() {
		return nil, invalid("ruleChainId", "is required")
	}
	related, err := flagOr(r, "updateRelated", true)
	if err != nil {
		return nil, err
	}
	if _, err := a.ownRuleChain(r, p, id); err != nil {
		return nil, err
	}
	saved, err := a.RuleChains.SaveGraph(r.Context(), p.Tenant, id, orZero(in.Version), in.Graph, related)
	if err != nil {
		return nil, err
	}
	return storedGraphView(saved)
}

func (a *api) outputLabels(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.oneRuleChain(r, p)
	if err != nil {
		return nil, err
	}
	return found.Labels(), nil
}

// usageBody is a node that enters the chain asked about.
type usageBody struct {
	RuleChainID   ref      `json:"ruleChainId"`
	RuleNodeID    ref      `json:"ruleNodeId"`
	RuleChainName string   `json:"ruleChainName"`
	RuleNodeName  string   `json:"ruleNodeName"`
	Labels        []string `json:"labels"`
}

func (a *api) outputLabelsUsage(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.oneRuleChain(r, p)
	if err != nil {
		return nil, err
	}
	usages, err := a.RuleChains.Usages(r.Context(), p.Tenant, found.ID)
	if err != nil {
		return nil, err
	}
	views := make([]usageBody, len(usages))
	for i, u := range usages {
		views[i] = usageBody{refOf(ident.RuleChain, u.Chain), refOf(ident.RuleNode, u.Node), u.ChainName, u.NodeName, u.Labels}
	}
	return views, nil
}
