// Package copykeys copies members of a message's body into its metadata, or the other way.
package copykeys

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/keys"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/part"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["copyFrom","keys"],"properties":{
"copyFrom":{"enum":["DATA","METADATA"],"description":"Where the pairs are; they are copied to the other."},
"keys":{"type":"array","items":{"type":"string"},"description":"Regular expressions that match whole keys."}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.transform.TbCopyKeysNode",
		Name:      "copy key-value pairs",
		Category:  rule.Transformation,
		Pure:      true,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   2,
		Default:   json.RawMessage(`{"copyFrom":"DATA","keys":[]}`),
		Schema:    json.RawMessage(schema),
		Upgrade:   upgrade,
		New:       newNode,
	}
}

func upgrade(_ int, config map[string]any, _ *rule.NodeEntry) {
	if config["copyFrom"] == nil {
		config["copyFrom"] = string(part.FromFlag(config["fromMetadata"]))
	}
	delete(config, "fromMetadata")
}

type config struct {
	From part.Part `json:"copyFrom"`
	Keys []string  `json:"keys"`
}

type node struct {
	from part.Part
	keys keys.Choice
}

func newNode(raw json.RawMessage, _ rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if err := c.From.Check("copyFrom"); err != nil {
		return nil, err
	}
	choice, err := keys.Compile("keys", c.Keys)
	return &node{c.From, choice}, err
}

func (n *node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	body, err := object.Read(in.Body)
	if errors.Is(err, object.ErrNot) {
		turn.Emit(rule.Success, in)
		return nil
	}
	if err != nil {
		return err
	}
	out := *in
	if n.from == part.Metadata {
		out.Body = n.intoBody(in, body)
	} else {
		out.Metadata = n.intoMetadata(in, body)
	}
	turn.Emit(rule.Success, &out)
	return nil
}

func (n *node) intoBody(in *rule.Message, body *object.Object) rule.Body {
	copied := false
	all := in.Metadata.All()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if n.keys.Has(key) {
			body.SetText(key, all[key])
			copied = true
		}
	}
	if !copied {
		return in.Body
	}
	return body.Body()
}

func (n *node) intoMetadata(in *rule.Message, body *object.Object) rule.Metadata {
	more := map[string]string{}
	for _, m := range body.Members() {
		if n.keys.Has(m.Name) {
			more[m.Name] = object.Plain(m.Value)
		}
	}
	return in.Metadata.WithAll(more)
}
