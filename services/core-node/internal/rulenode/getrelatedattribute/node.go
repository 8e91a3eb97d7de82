// Package getrelatedattribute puts data of an entity related to the originator into messages.
package getrelatedattribute

import (
	"context"
	_ "embed"
	"encoding/json"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/mapping"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/subject"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.metadata.TbGetRelatedAttributeNode",
		Name:      "related entity data",
		Category:  rule.Enrichment,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default: json.RawMessage(`{"dataMapping":{"serialNumber":"sn"},"dataToFetch":"ATTRIBUTES","fetchTo":"METADATA",` +
			`"relationsQuery":{"direction":"FROM","maxLevel":1,"filters":[{"relationType":"Contains","entityTypes":[]}]}}`),
		Schema: json.RawMessage(`{"type":"object","required":["dataMapping","relationsQuery"],"properties":{` +
			mapping.Schema + `,"relationsQuery":` + subject.QuerySchema + `}}`),
		Waits:   rule.ForStore,
		Upgrade: func(_ int, config map[string]any, _ *rule.NodeEntry) { mapping.Upgrade(config) },
		New:     newNode,
	}
}

type config struct {
	mapping.Config
	Query *subject.Query `json:"relationsQuery"`
}

type node struct {
	mapping  *mapping.Mapping
	related  subject.Related
	services rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	m, err := c.Compile(s, mapping.Attributes, mapping.Latest, mapping.Fields)
	if err != nil {
		return nil, err
	}
	related, err := c.Query.Compile("relationsQuery")
	return &node{m, related, s}, err
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	e, err := n.related.First(ctx, n.services, in.Originator, subject.Any)
	if err != nil {
		return err
	}
	out, err := n.mapping.Enrich(ctx, in, e)
	if err != nil {
		return err
	}
	turn.Emit(rule.Success, out)
	return nil
}
