// Package scripttransform has a script make other messages of messages.
package scripttransform

import (
	"context"
	_ "embed"
	"encoding/json"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/script"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.transform.TbTransformMsgNode",
		Name:      "script",
		Category:  rule.Transformation,
		Pure:      true,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default:   script.Default("return {msg: msg, metadata: metadata, msgType: msgType};"),
		Schema:    script.Schema("{msg, metadata, msgType}, or an array of such objects"),
		Waits:     rule.ForScripts,
		New:       newNode,
	}
}

type node struct{ script *script.Function }

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var source script.Source
	if err := json.Unmarshal(raw, &source); err != nil {
		return nil, err
	}
	function, err := source.Prepare(s, script.StandardFields(), script.MessageParameters())
	if err != nil {
		return nil, err
	}
	return node{function}, nil
}

func (n node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	messages, err := n.script.Transform(ctx, in)
	if err != nil {
		return err
	}
	for _, m := range messages {
		turn.Emit(rule.Success, m)
	}
	return nil
}
