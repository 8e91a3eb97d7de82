package relation

import (
	"context"
	"slices"

	"github.com/sluice-iot/sluice/proto/ident"
)

// Direction says which side of relations a search goes out from.
type Direction string

// The directions: From finds what the root is the from side of.
const (
	From Direction = "FROM"
	To   Direction = "TO"
)

// Filter lets relations through; empty fields let all.
type Filter struct {
	Type        string
	EntityTypes []ident.EntityType // of the far end
	Negate      bool               // of all types but Type
}

func (f Filter) passes(r Relation, d Direction) bool {
	if f.Type != "" && (r.Type == f.Type) == f.Negate {
		return false
	}
	return len(f.EntityTypes) == 0 || slices.Contains(f.EntityTypes, r.Far(d).Type)
}

// Query is a search from a root, level by level.
type Query struct {
	Root           ident.EntityID
	Direction      Direction
	Group          string // "" is Common
	MaxLevel       int    // 0: as many as the settings allow
	FetchLastLevel bool   // only the ends of the paths
	Filters        []Filter
}

// Far returns the end of r that lies in the direction of the search.
func (r Relation) Far(d Direction) ident.EntityID {
	if d == To {
		return r.From
	}
	return r.To
}

// Search returns the relations found, level by level, each once; an entity is gone through once, whatever circles there are.
// Filters apply to what is returned, not to the ways there. More than Settings.Found relations seen is fault.Invalid.
func (r *Registry) Search(ctx context.Context, tenant ident.TenantID, q Query) ([]Relation, error) {
	levels := r.settings.MaxLevel
	if q.MaxLevel > 0 {
		levels = min(levels, q.MaxLevel)
	}
	side := fromSide
	if q.Direction == To {
		side = toSide
	}
	walked := map[ident.EntityID]bool{q.Root: true}
	found := []Relation{}
	seen := 0
	level := []Relation{{Key: Key{From: q.Root, To: q.Root}}}
	for depth := 0; len(level) > 0; depth++ {
		var next []Relation
		for _, by := range level {
			var ways []Relation
			if depth < levels {
				var err error
				if ways, err = r.find(ctx, tenant, by.Far(q.Direction), side, scope{group: Group(q.Group)}); err != nil {
					return nil, err
				}
			}
			if seen += len(ways); seen > r.settings.Found {
				return nil, tooMany(r.settings.Found)
			}
			if depth > 0 && (!q.FetchLastLevel || len(ways) == 0) && q.passes(by) {
				found = append(found, by)
			}
			for _, way := range ways {
				far := way.Far(q.Direction)
				if walked[far] {
					if !q.FetchLastLevel && q.passes(way) {
						found = append(found, way) // another way to where the search has been
					}
					continue
				}
				walked[far] = true
				next = append(next, way)
			}
		}
		level = next
	}
	return found, nil
}

func (q Query) passes(r Relation) bool {
	if len(q.Filters) == 0 {
		return true
	}
	return slices.ContainsFunc(q.Filters, func(f Filter) bool { return f.passes(r, q.Direction) })
}
