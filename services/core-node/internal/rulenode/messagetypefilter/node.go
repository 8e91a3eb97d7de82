// Package messagetypefilter tells messages of some types from all others.
package messagetypefilter

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["messageTypes"],"properties":{
"messageTypes":{"type":"array","minItems":1,"items":{"type":"string"},"description":"Types that are True, exactly as they are spelled; a tenant's own are fine."}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.filter.TbMsgTypeFilterNode",
		Name:      "message type filter",
		Category:  rule.Filter,
		Pure:      true,
		Doc:       doc,
		Relations: []rule.Relation{rule.True, rule.False},
		Default:   json.RawMessage(`{"messageTypes":["POST_ATTRIBUTES_REQUEST","POST_TELEMETRY_REQUEST","TO_SERVER_RPC_REQUEST"]}`),
		Schema:    json.RawMessage(schema),
		New:       newNode,
	}
}

// node is the types that are True.
type node map[string]bool

func newNode(raw json.RawMessage, _ rule.Services) (rule.Node, error) {
	var c struct {
		MessageTypes []string `json:"messageTypes"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if len(c.MessageTypes) == 0 {
		return nil, errors.New("messageTypes: at least one type is needed")
	}
	n := node{}
	for _, t := range c.MessageTypes {
		n[t] = true
	}
	return n, nil
}

func (n node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	if n[in.Type] {
		turn.Emit(rule.True, in)
	} else {
		turn.Emit(rule.False, in)
	}
	return nil
}
