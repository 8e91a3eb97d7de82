// Package getattributes puts attributes and latest values of the originator into messages.
package getattributes

import (
	"context"
	_ "embed"
	"encoding/json"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/selection"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.metadata.TbGetAttributesNode",
		Name:      "originator attributes",
		Category:  rule.Enrichment,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default:   json.RawMessage(`{` + selection.Default + `}`),
		Schema:    json.RawMessage(`{"type":"object","properties":{` + selection.Schema + `}}`),
		Waits:     rule.ForStore,
		Upgrade:   func(_ int, config map[string]any, _ *rule.NodeEntry) { selection.Upgrade(config) },
		New:       newNode,
	}
}

type node struct{ chosen *selection.Selection }

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c selection.Config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	chosen, err := c.Compile(s)
	return &node{chosen}, err
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	return n.chosen.Emit(ctx, in, in.Originator, turn)
}
