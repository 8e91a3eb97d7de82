// Package getdeviceattributes puts attributes and latest values of a device related to the originator into messages.
package getdeviceattributes

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/selection"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/subject"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.metadata.TbGetDeviceAttrNode",
		Name:      "related device attributes",
		Category:  rule.Enrichment,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default: json.RawMessage(`{` + selection.Default + `,"deviceRelationsQuery":` +
			`{"direction":"FROM","maxLevel":1,"relationType":"Contains","deviceTypes":["default"],"fetchLastLevelOnly":false}}`),
		Schema: json.RawMessage(`{"type":"object","required":["deviceRelationsQuery"],"properties":{` + selection.Schema +
			`,"deviceRelationsQuery":{"type":"object","required":["direction","deviceTypes"],"properties":{` +
			`"direction":{"enum":["FROM","TO"]},"maxLevel":{"type":"integer","minimum":0},"relationType":{"type":"string"},` +
			`"deviceTypes":{"type":"array","items":{"type":"string"}},"fetchLastLevelOnly":{"type":"boolean"}}}}}`),
		Waits:   rule.ForStore,
		Upgrade: func(_ int, config map[string]any, _ *rule.NodeEntry) { selection.Upgrade(config) },
		New:     newNode,
	}
}

type config struct {
	selection.Config
	Query *struct {
		subject.Query
		RelationType string   `json:"relationType"`
		DeviceTypes  []string `json:"deviceTypes"`
	} `json:"deviceRelationsQuery"`
}

type node struct {
	chosen   *selection.Selection
	related  subject.Related
	types    []string
	services rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if c.Query == nil || len(c.Query.DeviceTypes) == 0 {
		return nil, errors.New("deviceRelationsQuery.deviceTypes: at least one type is needed")
	}
	chosen, err := c.Compile(s)
	if err != nil {
		return nil, err
	}
	c.Query.Filters = []subject.Filter{{RelationType: c.Query.RelationType, EntityTypes: []string{"DEVICE"}}}
	related, err := c.Query.Compile("deviceRelationsQuery")
	return &node{chosen, related, c.Query.DeviceTypes, s}, err
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	e, err := n.related.First(ctx, n.services, in.Originator, subject.DeviceOf(ctx, n.services, n.types))
	if err != nil {
		return err
	}
	return n.chosen.Emit(ctx, in, e, turn)
}
