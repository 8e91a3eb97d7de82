// Package gettenantattribute puts data of the tenant into messages.
package gettenantattribute

import (
	"context"
	_ "embed"
	"encoding/json"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/mapping"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.metadata.TbGetTenantAttributeNode",
		Name:      "tenant attributes",
		Category:  rule.Enrichment,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default:   json.RawMessage(`{"dataMapping":{"alarmThreshold":"threshold"},"dataToFetch":"ATTRIBUTES","fetchTo":"METADATA"}`),
		Schema:    json.RawMessage(`{"type":"object","required":["dataMapping"],"properties":{` + mapping.Schema + `}}`),
		Waits:     rule.ForStore,
		Upgrade:   func(_ int, config map[string]any, _ *rule.NodeEntry) { mapping.Upgrade(config) },
		New:       newNode,
	}
}

type node struct {
	mapping *mapping.Mapping
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c mapping.Config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	m, err := c.Compile(s, mapping.Attributes, mapping.Latest)
	return &node{m}, err
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	out, err := n.mapping.Enrich(ctx, in, in.Tenant.Entity())
	if err != nil {
		return err
	}
	turn.Emit(rule.Success, out)
	return nil
}
