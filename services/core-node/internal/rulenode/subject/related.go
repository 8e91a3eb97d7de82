package subject

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Query is how configurations say which entities are related to the originator.
type Query struct {
	Direction string   `json:"direction"`
	MaxLevel  int      `json:"maxLevel"`
	LastLevel bool     `json:"fetchLastLevelOnly"`
	Filters   []Filter `json:"filters"`
}

// Filter is one of the relations a Query takes.
type Filter struct {
	RelationType string   `json:"relationType"`
	EntityTypes  []string `json:"entityTypes"`
	Negate       bool     `json:"negate"`
}

// QuerySchema is the JSON schema of Query.
const QuerySchema = `{"type":"object","required":["direction"],"properties":{
"direction":{"enum":["FROM","TO"],"description":"FROM: the originator is the from side."},
"maxLevel":{"type":"integer","minimum":0,"description":"0: as many as the platform goes."},
"fetchLastLevelOnly":{"type":"boolean"},
"filters":{"type":"array","items":{"type":"object","properties":{
"relationType":{"type":"string"},"entityTypes":{"type":"array","items":{"type":"string"}},"negate":{"type":"boolean"}}}}}}`

// Related is a Query that was checked.
type Related struct{ query relation.Query }

// Compile checks q; errors name the field, which begins with field.
func (q *Query) Compile(field string) (Related, error) {
	if q == nil {
		return Related{}, fmt.Errorf("%s: a query is needed", field)
	}
	direction, err := Direction(field+".direction", q.Direction)
	if err != nil {
		return Related{}, err
	}
	if q.MaxLevel < 0 {
		return Related{}, fmt.Errorf("%s.maxLevel: %d is no number of levels", field, q.MaxLevel)
	}
	r := Related{relation.Query{Direction: direction, MaxLevel: q.MaxLevel, FetchLastLevel: q.LastLevel}}
	for i, f := range q.Filters {
		filter := relation.Filter{Type: f.RelationType, Negate: f.Negate}
		for _, name := range f.EntityTypes {
			kind, err := Type(fmt.Sprintf("%s.filters[%d].entityTypes", field, i), name)
			if err != nil {
				return Related{}, err
			}
			filter.EntityTypes = append(filter.EntityTypes, kind)
		}
		r.query.Filters = append(r.query.Filters, filter)
	}
	return r, nil
}

// Direction reads one of FROM and TO; the error names field.
func Direction(field, text string) (relation.Direction, error) {
	switch d := relation.Direction(text); d {
	case relation.From, relation.To:
		return d, nil
	}
	return "", fmt.Errorf("%s: %q is none of FROM, TO", field, text)
}

// Type reads the name of an entity type; the error names field.
func Type(field, name string) (ident.EntityType, error) {
	n, ok := sluicepb.EntityType_value[name]
	if !ok || n == 0 {
		return 0, fmt.Errorf("%s: %q is no type of entity", field, name)
	}
	return ident.EntityType(n), nil
}

// First returns the first entity found from e that is one of those asked for.
func (r Related) First(ctx context.Context, s rule.Services, e ident.EntityID, is func(ident.EntityID) (bool, error)) (ident.EntityID, error) {
	q := r.query
	q.Root = e
	found, err := s.Relations.Search(ctx, s.Tenant, q)
	if err != nil {
		return ident.EntityID{}, fmt.Errorf("find related entities: %w", err)
	}
	for _, one := range found {
		far := one.Far(q.Direction)
		ok, err := is(far)
		if err != nil {
			return ident.EntityID{}, err
		}
		if ok {
			return far, nil
		}
	}
	return ident.EntityID{}, fmt.Errorf("nothing is related to %s in that way: %w", e, storage.ErrNotFound)
}

// Any lets every entity through.
func Any(ident.EntityID) (bool, error) { return true, nil }

// DeviceOf returns a choice of First that takes devices of some types.
func DeviceOf(ctx context.Context, s rule.Services, types []string) func(ident.EntityID) (bool, error) {
	return func(e ident.EntityID) (bool, error) {
		if e.Type != ident.Device {
			return false, nil
		}
		d, err := s.Entities.Devices.Device(ctx, s.Tenant, ident.DeviceID{ID: e.ID})
		if errors.Is(err, storage.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("find a related device: %w", err)
		}
		return slices.Contains(types, d.Type), nil
	}
}

// Between is the key of the relation of e with another entity, where direction From says that e is the from side.
func Between(d relation.Direction, e, other ident.EntityID, kind string) relation.Key {
	if d == relation.To {
		e, other = other, e
	}
	return relation.Key{From: e, To: other, Type: kind}
}

// Relations returns e's relations of a type in one direction.
func Relations(ctx context.Context, s rule.Services, d relation.Direction, e ident.EntityID, kind string) ([]relation.Relation, error) {
	if d == relation.To {
		return s.Relations.To(ctx, s.Tenant, e, kind, relation.Common)
	}
	return s.Relations.From(ctx, s.Tenant, e, kind, relation.Common)
}

// Invert turns the direction of an old configuration.
func Invert(config map[string]any) {
	switch config["direction"] {
	case string(relation.From):
		config["direction"] = string(relation.To)
	case string(relation.To):
		config["direction"] = string(relation.From)
	}
}

// UpgradeRelation brings the configuration of a node that changes relations from version 0: one that still has a cache's expiry
// meant the other direction.
func UpgradeRelation(config map[string]any) {
	if _, old := config["entityCacheExpiration"]; old {
		delete(config, "entityCacheExpiration")
		Invert(config)
	}
}
