// Package deleterelation removes relations of the originator.
package deleterelation

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
"deleteForSingleEntity":{"type":"boolean","description":"Remove the relation to one entity; otherwise all of the type."},
"entityType":{"type":["string","null"]},"entityNamePattern":{"type":["string","null"]}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.action.TbDeleteRelationNode",
		Name:      "delete relation",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default:   json.RawMessage(`{"direction":"FROM","relationType":"Contains","deleteForSingleEntity":false,"entityType":null,"entityNamePattern":""}`),
		Schema:    json.RawMessage(schema),
		Waits:     rule.ForStore,
		Upgrade:   func(_ int, config map[string]any, _ *rule.NodeEntry) { subject.UpgradeRelation(config) },
		New:       newNode,
	}
}

type config struct {
	Direction string `json:"direction"`
	Relation  string `json:"relationType"`
	Single    bool   `json:"deleteForSingleEntity"`
	Kind      string `json:"entityType"`
	Name      string `json:"entityNamePattern"`
}

type node struct {
	single         bool
	direction      relation.Direction
	kind           ident.EntityType
	relation, name pattern.Pattern
	services       rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if c.Relation == "" {
		return nil, errors.New("relationType: a type is needed")
	}
	direction, err := subject.Direction("direction", c.Direction)
	if err != nil {
		return nil, err
	}
	n := &node{single: c.Single, direction: direction, relation: pattern.Compile(c.Relation), name: pattern.Compile(c.Name), services: s}
	if n.single {
		n.kind, err = subject.Type("entityType", c.Kind)
	}
	return n, err
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	keys, err := n.keys(ctx, in)
	if err != nil {
		return fmt.Errorf("find relations: %w", err)
	}
	for _, key := range keys {
		if _, err := n.services.Relations.Delete(ctx, n.services.Tenant, key); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("delete a relation: %w", err)
		}
	}
	turn.Emit(rule.Success, in)
	return nil
}

func (n *node) keys(ctx context.Context, in *rule.Message) ([]relation.Key, error) {
	kind := n.relation.Of(in)
	if n.single {
		other, err := subject.Named(ctx, n.services, n.kind, n.name.Of(in))
		return []relation.Key{subject.Between(n.direction, in.Originator, other, kind)}, err
	}
	found, err := subject.Relations(ctx, n.services, n.direction, in.Originator, kind)
	keys := make([]relation.Key, len(found))
	for i, r := range found {
		keys[i] = r.Key
	}
	return keys, err
}
