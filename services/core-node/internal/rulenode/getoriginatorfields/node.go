// Package getoriginatorfields puts fields of the originator, such as its name, into messages.
package getoriginatorfields

import (
	"context"
	_ "embed"
	"encoding/json"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/mapping"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/part"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["dataMapping"],"properties":{
"dataMapping":{"type":"object","minProperties":1,"additionalProperties":{"type":"string"},"description":"Names in the message by names of fields; both are patterns."},
"ignoreNullStrings":{"type":"boolean","description":"Leave out fields that are empty."},
"fetchTo":{"enum":["DATA","METADATA"]}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.metadata.TbGetOriginatorFieldsNode",
		Name:      "originator fields",
		Category:  rule.Enrichment,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default:   json.RawMessage(`{"dataMapping":{"name":"originatorName","type":"originatorType"},"ignoreNullStrings":false,"fetchTo":"METADATA"}`),
		Schema:    json.RawMessage(schema),
		Waits:     rule.ForStore,
		Upgrade:   upgrade,
		New:       newNode,
	}
}

func upgrade(_ int, config map[string]any, _ *rule.NodeEntry) {
	if old, ok := config["fieldsMapping"]; ok && config["dataMapping"] == nil {
		config["dataMapping"] = old
	}
	if config["fetchTo"] == nil {
		config["fetchTo"] = string(part.Metadata)
	}
	delete(config, "fieldsMapping")
}

type config struct {
	mapping.Config
	IgnoreNull bool `json:"ignoreNullStrings"`
}

type node struct{ mapping *mapping.Mapping }

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	c.DataToFetch = mapping.Fields
	m, err := c.Compile(s, mapping.Fields)
	if err != nil {
		return nil, err
	}
	m.KeepNull = !c.IgnoreNull
	return &node{m}, nil
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	out, err := n.mapping.Enrich(ctx, in, in.Originator)
	if err != nil {
		return err
	}
	turn.Emit(rule.Success, out)
	return nil
}
