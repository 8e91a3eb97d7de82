// Package scriptfilter has a script tell which messages are wanted.
package scriptfilter

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
		Class:     "org.thingsboard.rule.engine.filter.TbJsFilterNode",
		Name:      "script",
		Category:  rule.Filter,
		Pure:      true,
		Doc:       doc,
		Relations: []rule.Relation{rule.True, rule.False},
		Default:   script.Default("return msg.temperature > 20;"),
		Schema:    script.Schema("true or false"),
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
	yes, err := n.script.Filter(ctx, in)
	if err != nil {
		return err
	}
	if yes {
		turn.Emit(rule.True, in)
	} else {
		turn.Emit(rule.False, in)
	}
	return nil
}
