// Package checkpoint puts messages on a queue, where they go on.
package checkpoint

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
		Class:     "org.thingsboard.rule.engine.flow.TbCheckpointNode",
		Name:      "checkpoint",
		Category:  rule.Flow,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default:   json.RawMessage(`{}`),
		Schema:    json.RawMessage(`{"type":"object"}`),
		HasQueue:  true,
		Upgrade:   upgrade,
		New:       newNode,
	}
}

// upgrade moves the queue from the configuration to the node.
func upgrade(_ int, config map[string]any, n *rule.NodeEntry) {
	if queue, ok := config["queueName"].(string); ok {
		n.Queue = queue
	}
	delete(config, "queueName")
}

// node is the name of the queue.
type node string

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c struct{}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	return node(s.Queue), nil
}

func (n node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	turn.Requeue(string(n), in)
	return nil
}
