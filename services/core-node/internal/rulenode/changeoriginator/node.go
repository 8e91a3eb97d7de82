// Package changeoriginator has messages go on as another entity's.
package changeoriginator

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/subject"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["originatorSource"],"properties":{
"originatorSource":{"enum":["CUSTOMER","TENANT","RELATED","ALARM_ORIGINATOR","ENTITY"]},
"relationsQuery":` + subject.QuerySchema + `,
"entityType":{"type":["string","null"],"description":"For ENTITY."},
"entityNamePattern":{"type":["string","null"],"description":"For ENTITY; a pattern."}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.transform.TbChangeOriginatorNode",
		Name:      "change originator",
		Category:  rule.Transformation,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default: json.RawMessage(`{"originatorSource":"CUSTOMER","relationsQuery":{"direction":"FROM","maxLevel":1,` +
			`"filters":[{"relationType":"Contains","entityTypes":[]}]},"entityType":null,"entityNamePattern":null}`),
		Schema: json.RawMessage(schema),
		Waits:  rule.ForStore,
		New:    newNode,
	}
}

type config struct {
	Source string         `json:"originatorSource"`
	Query  *subject.Query `json:"relationsQuery"`
	Type   string         `json:"entityType"`
	Name   string         `json:"entityNamePattern"`
}

type node struct {
	find     func(ctx context.Context, in *rule.Message) (ident.EntityID, error)
	services rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	n := &node{services: s}
	switch c.Source {
	case "CUSTOMER":
		n.find = func(ctx context.Context, in *rule.Message) (ident.EntityID, error) {
			customer, err := subject.CustomerOf(ctx, s, in.Originator)
			return customer.Entity(), err
		}
	case "TENANT":
		n.find = func(_ context.Context, in *rule.Message) (ident.EntityID, error) { return in.Tenant.Entity(), nil }
	case "ALARM_ORIGINATOR":
		n.find = n.alarmed
	case "RELATED":
		related, err := c.Query.Compile("relationsQuery")
		if err != nil {
			return nil, err
		}
		n.find = func(ctx context.Context, in *rule.Message) (ident.EntityID, error) {
			return related.First(ctx, s, in.Originator, subject.Any)
		}
	case "ENTITY":
		kind, err := subject.Type("entityType", c.Type)
		if err != nil {
			return nil, err
		}
		name := pattern.Compile(c.Name)
		if c.Name == "" && kind != ident.Tenant {
			return nil, fmt.Errorf("entityNamePattern: a name is needed")
		}
		n.find = func(ctx context.Context, in *rule.Message) (ident.EntityID, error) {
			return subject.Named(ctx, s, kind, name.Of(in))
		}
	default:
		return nil, fmt.Errorf("originatorSource: %q is none of CUSTOMER, TENANT, RELATED, ALARM_ORIGINATOR, ENTITY", c.Source)
	}
	return n, nil
}

func (n *node) alarmed(ctx context.Context, in *rule.Message) (ident.EntityID, error) {
	if in.Originator.Type != ident.Alarm {
		return ident.EntityID{}, fmt.Errorf("%s is no alarm: %w", in.Originator, storage.ErrNotFound)
	}
	a, err := n.services.Alarms.Get(ctx, n.services.Tenant, in.Originator.ID)
	if err != nil {
		return ident.EntityID{}, fmt.Errorf("find the alarm: %w", err)
	}
	return a.Originator, nil
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	e, err := n.find(ctx, in)
	if err != nil {
		return fmt.Errorf("find the new originator: %w", err)
	}
	out, err := subject.Originate(ctx, n.services, in, e)
	if err != nil {
		return err
	}
	turn.Emit(rule.Success, out)
	return nil
}
