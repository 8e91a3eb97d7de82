// Package checkfields tells messages that have some fields from those that lack them.
package checkfields

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","properties":{
"messageNames":{"type":"array","items":{"type":"string"},"description":"Fields of the body; a value of null counts as there."},
"metadataNames":{"type":"array","items":{"type":"string"},"description":"Keys of the metadata."},
"checkAllKeys":{"type":"boolean","description":"All of them are needed; otherwise any one."}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.filter.TbCheckMessageNode",
		Name:      "check fields presence",
		Category:  rule.Filter,
		Pure:      true,
		Doc:       doc,
		Relations: []rule.Relation{rule.True, rule.False},
		Default:   json.RawMessage(`{"messageNames":[],"metadataNames":[],"checkAllKeys":true}`),
		Schema:    json.RawMessage(schema),
		New:       newNode,
	}
}

type node struct {
	Body     []string `json:"messageNames"`
	Metadata []string `json:"metadataNames"`
	All      bool     `json:"checkAllKeys"`
}

func newNode(raw json.RawMessage, _ rule.Services) (rule.Node, error) {
	n := node{}
	if err := json.Unmarshal(raw, &n); err != nil {
		return nil, err
	}
	return n, nil
}

func (n node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	there, err := n.count(in)
	if err != nil {
		return err
	}
	if n.All && there == len(n.Body)+len(n.Metadata) || !n.All && there > 0 {
		turn.Emit(rule.True, in)
	} else {
		turn.Emit(rule.False, in)
	}
	return nil
}

// count returns how many of the fields in has.
func (n node) count(in *rule.Message) (there int, err error) {
	if len(n.Body) > 0 {
		fields, err := fieldsOf(in.Body)
		if err != nil {
			return 0, err
		}
		for _, name := range n.Body {
			if fields[name] {
				there++
			}
		}
	}
	for _, key := range n.Metadata {
		if _, ok := in.Metadata.Get(key); ok {
			there++
		}
	}
	return there, nil
}

var errNoObject = errors.New("the body is not a JSON object")

// fieldsOf is the names in a body.
func fieldsOf(body rule.Body) (map[string]bool, error) {
	names := map[string]bool{}
	if kvs, typed := body.Typed(); typed {
		for i := range kvs {
			names[kvs[i].Key] = true
		}
		return names, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body.Text()), &fields); err != nil || fields == nil {
		return nil, errNoObject
	}
	for name := range fields {
		names[name] = true
	}
	return names, nil
}
