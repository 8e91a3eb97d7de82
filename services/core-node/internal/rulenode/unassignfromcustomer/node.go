// Package unassignfromcustomer takes the originator from its customer.
package unassignfromcustomer

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/subject"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.action.TbUnassignFromCustomerNode",
		Name:      "unassign from customer",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default:   json.RawMessage(`{"customerNamePattern":""}`),
		Schema:    json.RawMessage(`{"type":"object","properties":{"customerNamePattern":{"type":"string","description":"For dashboards, which there are none of."}}}`),
		Waits:     rule.ForStore,
		Upgrade:   func(_ int, config map[string]any, _ *rule.NodeEntry) { delete(config, "customerCacheExpiration") },
		New:       newNode,
	}
}

type node struct{ services rule.Services }

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c struct {
		Name string `json:"customerNamePattern"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	return &node{s}, nil
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	if t := in.Originator.Type; t != ident.Device && t != ident.Asset {
		return fmt.Errorf("a %s cannot be unassigned", t)
	}
	_, err := subject.CustomerOf(ctx, n.services, in.Originator)
	if err == nil {
		err = n.unassign(entity.WithActor(ctx, entity.Actor{RuleNode: n.services.Node}), in.Originator)
	} else if errors.Is(err, subject.ErrNoCustomer) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("unassign: %w", err)
	}
	turn.Emit(rule.Success, in)
	return nil
}

func (n *node) unassign(ctx context.Context, e ident.EntityID) (err error) {
	if e.Type == ident.Device {
		_, err = n.services.Entities.Devices.Unassign(ctx, n.services.Tenant, ident.DeviceID{ID: e.ID})
	} else {
		_, err = n.services.Entities.Assets.Unassign(ctx, n.services.Tenant, e.ID)
	}
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("find the originator: %w", err)
	}
	return err
}
