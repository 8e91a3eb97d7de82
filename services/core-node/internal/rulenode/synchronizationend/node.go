// Package synchronizationend is a node of old chains that does nothing any more.
package synchronizationend

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
		Class:     "org.thingsboard.rule.engine.transaction.TbSynchronizationEndNode",
		Name:      "synchronization end",
		Category:  rule.Action,
		Pure:      true,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default:   json.RawMessage(`{}`),
		Schema:    json.RawMessage(`{"type":"object"}`),
		New:       func(json.RawMessage, rule.Services) (rule.Node, error) { return node{}, nil },
	}
}

type node struct{}

func (node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	turn.Emit(rule.Success, in)
	return nil
}
