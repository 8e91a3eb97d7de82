// Package createrelation relates the originator to another entity.
package createrelation

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/subject"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["direction","relationType"],"properties":{
"direction":{"enum":["FROM","TO"],"description":"FROM: the originator is the from side."},
"relationType":{"type":"string","description":"A pattern."},
"entityType":{"type":["string","null"]},
"entityNamePattern":{"type":"string"},
"entityTypePattern":{"type":"string","description":"The type of a device or asset that is made."},
"createEntityIfNotExists":{"type":"boolean"},
"removeCurrentRelations":{"type":"boolean","description":"Remove the originator's other relations of that type and direction."},
"changeOriginatorToRelatedEntity":{"type":"boolean"}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.action.TbCreateRelationNode",
		Name:      "create relation",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default: json.RawMessage(`{"direction":"FROM","relationType":"Contains","entityType":null,"entityNamePattern":"","entityTypePattern":"",` +
			`"createEntityIfNotExists":false,"removeCurrentRelations":false,"changeOriginatorToRelatedEntity":false}`),
		Schema:  json.RawMessage(schema),
		Waits:   rule.ForStore,
		Upgrade: func(_ int, config map[string]any, _ *rule.NodeEntry) { subject.UpgradeRelation(config) },
		New:     newNode,
	}
}

type config struct {
	Direction string `json:"direction"`
	Relation  string `json:"relationType"`
	Kind      string `json:"entityType"`
	Name      string `json:"entityNamePattern"`
	Type      string `json:"entityTypePattern"`
	Create    bool   `json:"createEntityIfNotExists"`
	Replace   bool   `json:"removeCurrentRelations"`
	Originate bool   `json:"changeOriginatorToRelatedEntity"`
}

type node struct {
	config               config
	direction            relation.Direction
	kind                 ident.EntityType
	relation, name, made pattern.Pattern
	services             rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	n := &node{config: c, relation: pattern.Compile(c.Relation), name: pattern.Compile(c.Name), made: pattern.Compile(c.Type), services: s}
	if c.Relation == "" {
		return nil, errors.New("relationType: a type is needed")
	}
	var err error
	if n.direction, err = subject.Direction("direction", c.Direction); err != nil {
		return nil, err
	}
	if c.Kind == "" {
		return nil, fmt.Errorf("entityType: %w: an entity is to be chosen", rule.ErrNotStartable)
	}
	n.kind, err = subject.Type("entityType", c.Kind)
	return n, err
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	other, err := n.other(ctx, in)
	if err != nil {
		return err
	}
	key := subject.Between(n.direction, in.Originator, other, n.relation.Of(in))
	if n.config.Replace {
		if err := n.removeOthers(ctx, in.Originator, key); err != nil {
			return err
		}
	}
	if err := n.save(ctx, key); err != nil {
		return err
	}
	out := in
	if n.config.Originate {
		if out, err = subject.Originate(ctx, n.services, in, other); err != nil {
			return err
		}
	}
	turn.Emit(rule.Success, out)
	return nil
}

func (n *node) other(ctx context.Context, in *rule.Message) (ident.EntityID, error) {
	if n.config.Create {
		return subject.NamedOrCreated(ctx, n.services, n.kind, n.name.Of(in), n.made.Of(in))
	}
	return subject.Named(ctx, n.services, n.kind, n.name.Of(in))
}

func (n *node) removeOthers(ctx context.Context, e ident.EntityID, but relation.Key) error {
	found, err := subject.Relations(ctx, n.services, n.direction, e, but.Type)
	if err != nil {
		return fmt.Errorf("find current relations: %w", err)
	}
	for _, r := range found {
		if r.From == but.From && r.To == but.To {
			continue
		}
		if _, err := n.services.Relations.Delete(ctx, n.services.Tenant, r.Key); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("remove a current relation: %w", err)
		}
	}
	return nil
}

// save leaves a relation alone that is there.
func (n *node) save(ctx context.Context, key relation.Key) error {
	_, err := n.services.Relations.Get(ctx, n.services.Tenant, key)
	if errors.Is(err, storage.ErrNotFound) {
		_, err = n.services.Relations.Save(ctx, n.services.Tenant, relation.Relation{Key: key})
	}
	if err != nil {
		return fmt.Errorf("create the relation: %w", err)
	}
	return nil
}
