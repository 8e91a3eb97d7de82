// Package assigntocustomer gives the originator to a customer.
package assigntocustomer

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/subject"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.action.TbAssignToCustomerNode",
		Name:      "assign to customer",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default:   json.RawMessage(`{"customerNamePattern":"","createCustomerIfNotExists":false}`),
		Schema: json.RawMessage(`{"type":"object","properties":{"customerNamePattern":{"type":"string","description":"A pattern that gives the customer's title."},` +
			`"createCustomerIfNotExists":{"type":"boolean"}}}`),
		Waits:   rule.ForStore,
		Upgrade: func(_ int, config map[string]any, _ *rule.NodeEntry) { delete(config, "customerCacheExpiration") },
		New:     newNode,
	}
}

type config struct {
	Name   string `json:"customerNamePattern"`
	Create bool   `json:"createCustomerIfNotExists"`
}

type node struct {
	name     pattern.Pattern
	create   bool
	services rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	return &node{pattern.Compile(c.Name), c.Create, s}, nil
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	title := n.name.Of(in)
	if title == "" {
		return errors.New("customerNamePattern: it gives no title")
	}
	find := subject.Named
	if n.create {
		find = func(ctx context.Context, s rule.Services, kind ident.EntityType, name string) (ident.EntityID, error) {
			return subject.NamedOrCreated(ctx, s, kind, name, "")
		}
	}
	customer, err := find(ctx, n.services, ident.Customer, title)
	if err != nil {
		return err
	}
	if err := n.assign(ctx, in.Originator, ident.CustomerID{ID: customer.ID}); err != nil {
		return fmt.Errorf("assign to customer %q: %w", title, err)
	}
	turn.Emit(rule.Success, in)
	return nil
}

func (n *node) assign(ctx context.Context, e ident.EntityID, to ident.CustomerID) (err error) {
	ctx = entity.WithActor(ctx, entity.Actor{RuleNode: n.services.Node})
	switch e.Type {
	case ident.Device:
		_, err = n.services.Entities.Devices.Assign(ctx, n.services.Tenant, ident.DeviceID{ID: e.ID}, to)
	case ident.Asset:
		_, err = n.services.Entities.Assets.Assign(ctx, n.services.Tenant, e.ID, to)
	default:
		err = fmt.Errorf("a %s cannot be assigned", e.Type)
	}
	return err
}
