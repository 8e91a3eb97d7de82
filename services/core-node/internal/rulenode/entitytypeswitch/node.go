// Package entitytypeswitch sends messages along the relation their originator's type names.
package entitytypeswitch

import (
	"context"
	_ "embed"
	"encoding/json"
	"strings"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:    "org.thingsboard.rule.engine.filter.TbOriginatorTypeSwitchNode",
		Name:     "entity type switch",
		Category: rule.Filter,
		Pure:     true,
		Doc:      doc,
		Relations: []rule.Relation{
			"Alarm", "Asset", "Asset profile", "Customer", "Dashboard", "Device", "Device profile", "Edge", "Entity view",
			"Rule chain", "Rule node", "Tenant", "Tenant profile", "User",
		},
		Default: json.RawMessage(`{}`),
		Schema:  json.RawMessage(`{"type":"object"}`),
		New:     func(json.RawMessage, rule.Services) (rule.Node, error) { return node{}, nil },
	}
}

type node struct{}

func (node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	turn.Emit(relation(in.Originator.Type.String()), in)
	return nil
}

// relation is a type's name as people read it: ENTITY_VIEW is "Entity view".
func relation(entityType string) rule.Relation {
	words := strings.ReplaceAll(entityType, "_", " ")
	return rule.Relation(words[:1] + strings.ToLower(words[1:]))
}
