// Package splitarray makes a message of each element of an array.
package splitarray

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.transform.TbSplitArrayMsgNode",
		Name:      "split array msg",
		Category:  rule.Transformation,
		Pure:      true,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default:   json.RawMessage(`{}`),
		Schema:    json.RawMessage(`{"type":"object"}`),
		New:       func(json.RawMessage, rule.Services) (rule.Node, error) { return node{}, nil },
	}
}

type node struct{}

var errNoArray = errors.New("the body is not a JSON array")

func (node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	if _, typed := in.Body.Typed(); typed {
		return errNoArray
	}
	var elements []json.RawMessage
	if err := json.Unmarshal([]byte(in.Body.Text()), &elements); err != nil || elements == nil {
		return errNoArray
	}
	for _, element := range elements {
		out := *in
		out.Body = rule.TextBody(string(element))
		turn.Emit(rule.Success, &out)
	}
	return nil
}
