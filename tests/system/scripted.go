package system

import (
	"context"
	"fmt"
	"net/http"
)

// chainNode is a node of a rule chain as the API writes it.
type chainNode struct {
	Type          string         `json:"type"`
	Name          string         `json:"name"`
	Configuration map[string]any `json:"configuration"`
	Version       int            `json:"configurationVersion"`
}

// UseScripts has the tenant's telemetry run through two scripts, a filter and a transformation, before it is stored. Every
// reading passes both and is stored as it came.
func (t *Tenant) UseScripts(ctx context.Context) error {
	var chains struct {
		Data []struct {
			ID   ref  `json:"id"`
			Root bool `json:"root"`
		} `json:"data"`
	}
	if err := t.call(ctx, http.MethodGet, "/api/ruleChains?pageSize=100&page=0", nil, &chains); err != nil {
		return err
	}
	for _, c := range chains.Data {
		if c.Root {
			return t.putScripts(ctx, c.ID.ID)
		}
	}
	return fmt.Errorf("the tenant has no root chain among %d", len(chains.Data))
}

func (t *Tenant) putScripts(ctx context.Context, chain string) error {
	var graph map[string]any
	if err := t.call(ctx, http.MethodGet, "/api/ruleChain/"+chain+"/metadata", nil, &graph); err != nil {
		return err
	}
	nodes, links := graph["nodes"].([]any), graph["connections"].([]any)
	types, save := -1, -1
	for i, n := range nodes {
		switch n.(map[string]any)["type"] {
		case "org.thingsboard.rule.engine.filter.TbMsgTypeSwitchNode":
			types = i
		case "org.thingsboard.rule.engine.telemetry.TbMsgTimeseriesNode":
			save = i
		}
	}
	if types < 0 || save < 0 {
		return fmt.Errorf("the root chain has no message type switch, or saves no time series")
	}
	kept := []any{}
	for _, l := range links {
		if l.(map[string]any)["type"] != "Post telemetry" {
			kept = append(kept, l)
		}
	}
	filter, transform := len(nodes), len(nodes)+1
	graph["nodes"] = append(nodes, chainNode{
		Type: "org.thingsboard.rule.engine.filter.TbJsFilterNode", Name: "Any reading",
		Configuration: map[string]any{"scriptLang": "JS", "jsScript": "return Object.keys(msg).length > 0;"},
	}, chainNode{
		Type: "org.thingsboard.rule.engine.transform.TbTransformMsgNode", Name: "Note the type",
		Configuration: map[string]any{"scriptLang": "JS", "jsScript": "metadata.seen = msgType;\nreturn {msg: msg, metadata: metadata, msgType: msgType};"},
	})
	link := func(from, to int, relation string) any {
		return map[string]any{"fromIndex": from, "toIndex": to, "type": relation}
	}
	graph["connections"] = append(kept, link(types, filter, "Post telemetry"), link(filter, transform, "True"), link(transform, save, "Success"))
	return t.call(ctx, http.MethodPost, "/api/ruleChain/metadata", graph, nil)
}

// Trace is what became of one of a device's messages.
type Trace struct {
	Type  string  `json:"type"`
	Took  float64 `json:"tookMs"`
	Fate  string  `json:"fate"`
	Error string  `json:"error"`
	Path  []struct {
		Node     string `json:"ruleNode"`
		Relation string `json:"relation"`
		Stored   int    `json:"stored"`
	} `json:"path"`
}

// Traces reads what became of a device's latest messages, the newest first.
func (t *Tenant) Traces(ctx context.Context, device string) (traces []Trace, err error) {
	err = t.call(ctx, http.MethodGet, "/api/trace/DEVICE/"+device, nil, &traces)
	return traces, err
}
