// Package chainoutput sends messages back to the chain that entered this one.
package chainoutput

import (
	"context"
	_ "embed"
	"encoding/json"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:    "org.thingsboard.rule.engine.flow.TbRuleChainOutputNode",
		Name:     "output",
		Category: rule.Flow,
		Doc:      doc,
		Default:  json.RawMessage(`{}`),
		Schema:   json.RawMessage(`{"type":"object"}`),
		New:      func(json.RawMessage, rule.Services) (rule.Node, error) { return node{}, nil },
	}
}

type node struct{}

func (node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	turn.Return(in)
	return nil
}
