// Package gettenantdetails puts the address of the tenant into messages.
package gettenantdetails

import (
	"context"
	_ "embed"
	"encoding/json"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/contactdetails"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.metadata.TbGetTenantDetailsNode",
		Name:      "tenant details",
		Category:  rule.Enrichment,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default:   json.RawMessage(contactdetails.Default),
		Schema:    json.RawMessage(contactdetails.Schema),
		Waits:     rule.ForStore,
		Upgrade:   func(_ int, config map[string]any, _ *rule.NodeEntry) { contactdetails.Upgrade(config) },
		New:       newNode,
	}
}

type node struct {
	details  *contactdetails.Details
	services rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c contactdetails.Config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	details, err := c.Compile(s)
	return &node{details, s}, err
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	out, err := n.details.Enrich(ctx, in, n.services.Tenant.Entity(), "tenant_")
	if err != nil {
		return err
	}
	turn.Emit(rule.Success, out)
	return nil
}
