// Package entitytypefilter tells messages of some types of originators from all others.
package entitytypefilter

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
		Class:     "org.thingsboard.rule.engine.filter.TbOriginatorTypeFilterNode",
		Name:      "entity type filter",
		Category:  rule.Filter,
		Pure:      true,
		Doc:       doc,
		Relations: []rule.Relation{rule.True, rule.False},
		Default:   json.RawMessage(`{"originatorTypes":["DEVICE"]}`),
		Schema: json.RawMessage(`{"type":"object","required":["originatorTypes"],"properties":{` +
			`"originatorTypes":{"type":"array","minItems":1,"items":{"type":"string"},"description":"Types of originators that are True, such as DEVICE or ASSET."}}}`),
		New: newNode,
	}
}

// node is the types that are True.
type node map[string]bool

func newNode(raw json.RawMessage, _ rule.Services) (rule.Node, error) {
	var c struct {
		OriginatorTypes []string `json:"originatorTypes"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if len(c.OriginatorTypes) == 0 {
		return nil, errors.New("originatorTypes: at least one type is needed")
	}
	n := node{}
	for _, t := range c.OriginatorTypes {
		n[t] = true
	}
	return n, nil
}

func (n node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	if n[in.Originator.Type.String()] {
		turn.Emit(rule.True, in)
	} else {
		turn.Emit(rule.False, in)
	}
	return nil
}
