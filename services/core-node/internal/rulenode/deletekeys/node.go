// Package deletekeys removes members of a message's body, or of its metadata.
package deletekeys

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"maps"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/keys"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/part"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["deleteFrom","keys"],"properties":{
"deleteFrom":{"enum":["DATA","METADATA"]},
"keys":{"type":"array","items":{"type":"string"},"description":"Regular expressions that match whole keys."}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.transform.TbDeleteKeysNode",
		Name:      "delete key-value pairs",
		Category:  rule.Transformation,
		Pure:      true,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   2,
		Default:   json.RawMessage(`{"deleteFrom":"DATA","keys":[]}`),
		Schema:    json.RawMessage(schema),
		Upgrade:   upgrade,
		New:       newNode,
	}
}

func upgrade(_ int, config map[string]any, _ *rule.NodeEntry) {
	if config["deleteFrom"] == nil {
		if from, ok := config["dataToFetch"].(string); ok {
			config["deleteFrom"] = from
		} else {
			config["deleteFrom"] = string(part.FromFlag(config["fromMetadata"]))
		}
	}
	delete(config, "fromMetadata")
	delete(config, "dataToFetch")
}

type config struct {
	From part.Part `json:"deleteFrom"`
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
	if err := c.From.Check("deleteFrom"); err != nil {
		return nil, err
	}
	choice, err := keys.Compile("keys", c.Keys)
	return &node{c.From, choice}, err
}

func (n *node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	out := *in
	if n.from == part.Metadata {
		all := in.Metadata.All()
		maps.DeleteFunc(all, func(key, _ string) bool { return n.keys.Has(key) })
		out.Metadata = rule.Metadata{}.WithAll(all)
	} else {
		body, err := object.Read(in.Body)
		switch {
		case err == nil:
			if body.Delete(n.keys.Has) {
				out.Body = body.Body()
			}
		case !errors.Is(err, object.ErrNot):
			return err
		}
	}
	turn.Emit(rule.Success, &out)
	return nil
}
