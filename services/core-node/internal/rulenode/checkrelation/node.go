// Package checkrelation asks whether the originator is related to something.
package checkrelation

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/subject"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["direction","relationType"],"properties":{
"direction":{"enum":["FROM","TO"],"description":"FROM: the originator is the from side."},
"relationType":{"type":"string"},
"checkForSingleEntity":{"type":"boolean","description":"Ask for one entity; otherwise for any."},
"entityType":{"type":["string","null"]},"entityId":{"type":["string","null"]}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.filter.TbCheckRelationNode",
		Name:      "check relation presence",
		Category:  rule.Filter,
		Doc:       doc,
		Relations: []rule.Relation{rule.True, rule.False},
		Version:   1,
		Default:   json.RawMessage(`{"direction":"FROM","relationType":"Contains","checkForSingleEntity":true,"entityType":null,"entityId":null}`),
		Schema:    json.RawMessage(schema),
		Waits:     rule.ForStore,
		Upgrade:   func(_ int, config map[string]any, _ *rule.NodeEntry) { subject.Invert(config) },
		New:       newNode,
	}
}

type config struct {
	Direction string `json:"direction"`
	Type      string `json:"relationType"`
	Single    bool   `json:"checkForSingleEntity"`
	Kind      string `json:"entityType"`
	ID        string `json:"entityId"`
}

type node struct {
	direction relation.Direction
	kind      string
	only      ident.EntityID // zero: any
	services  rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if c.Type == "" {
		return nil, errors.New("relationType: a type is needed")
	}
	direction, err := subject.Direction("direction", c.Direction)
	if err != nil {
		return nil, err
	}
	n := &node{direction: direction, kind: c.Type, services: s}
	if !c.Single {
		return n, nil
	}
	if c.ID == "" {
		return nil, fmt.Errorf("entityId: %w: an entity is to be chosen", rule.ErrNotStartable)
	}
	if n.only.Type, err = subject.Type("entityType", c.Kind); err != nil {
		return nil, err
	}
	if n.only.ID, err = ident.Parse(c.ID); err != nil {
		return nil, fmt.Errorf("entityId: %w", err)
	}
	return n, nil
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	related, err := n.related(ctx, in.Originator)
	if err != nil {
		return fmt.Errorf("look for the relation: %w", err)
	}
	if related {
		turn.Emit(rule.True, in)
	} else {
		turn.Emit(rule.False, in)
	}
	return nil
}

func (n *node) related(ctx context.Context, e ident.EntityID) (bool, error) {
	if !n.only.ID.IsZero() {
		_, err := n.services.Relations.Get(ctx, n.services.Tenant, subject.Between(n.direction, e, n.only, n.kind))
		if errors.Is(err, storage.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	}
	found, err := subject.Relations(ctx, n.services, n.direction, e, n.kind)
	return len(found) > 0, err
}
