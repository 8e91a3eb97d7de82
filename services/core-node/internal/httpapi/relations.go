package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
)

// relationRoutes are those of rest-api §2.10 about one relation, or all of an entity.
func (a *api) relationRoutes() []route {
	return []route{
		{"POST", "/api/relation", tenantUsers(), a.saveRelationQuietly},
		{"POST", "/api/v2/relation", tenantUsers(), a.saveRelation},
		{"GET", "/api/relation", tenantUsers(), a.relation},
		{"DELETE", "/api/relation", tenantUsers(), a.deleteRelationQuietly},
		{"DELETE", "/api/v2/relation", tenantUsers(), a.deleteRelation},
		{"DELETE", "/api/relations", tenantUsers(), a.deleteRelations},
	}
}

func (a *api) saveRelationQuietly(r *http.Request, p auth.Principal) (any, error) {
	_, err := a.saveRelation(r, p)
	return nil, err
}

func (a *api) saveRelation(r *http.Request, p auth.Principal) (any, error) {
	var in relation.Relation
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.From.ID.IsZero() || in.To.ID.IsZero() {
		return nil, invalid("from, to", "both ends of a relation are required")
	}
	if err := checkText("type", in.Type); err != nil {
		return nil, err
	}
	if err := a.mayRelate(r, p, in.Key, auth.WriteValues); err != nil {
		return nil, err
	}
	saved, err := a.Relations.Save(r.Context(), p.Tenant, in)
	if err != nil {
		return nil, err
	}
	return saved, a.tellOfRelation(r, p, entity.RelationAddOrUpdate, saved)
}

// mayRelate decides about both ends of a relation.
func (a *api) mayRelate(r *http.Request, p auth.Principal, k relation.Key, action auth.Action) error {
	for _, e := range []ident.EntityID{k.From, k.To} {
		if err := a.Guard.Thing(r.Context(), p, e, action); err != nil {
			return err
		}
	}
	return nil
}

// tellOfRelation tells the chains of both ends.
func (a *api) tellOfRelation(r *http.Request, p auth.Principal, kind string, of relation.Relation) error {
	data, err := json.Marshal(of)
	if err != nil {
		return fmt.Errorf("encode relation: %w", err)
	}
	for _, e := range []ident.EntityID{of.From, of.To} {
		if err := a.Entities.Tell(r.Context(), entity.Change{Kind: kind, Tenant: p.Tenant, Originator: e, Data: string(data)}); err != nil {
			return err
		}
	}
	return nil
}

// queryEntity reads the entity that two parameters name.
func queryEntity(r *http.Request, idName, typeName string) (ident.EntityID, error) {
	q := r.URL.Query()
	if q.Get(idName) == "" || q.Get(typeName) == "" {
		return ident.EntityID{}, invalid(idName+", "+typeName, "are required")
	}
	kind, err := entityType(q.Get(typeName))
	if err != nil {
		return ident.EntityID{}, err
	}
	id, err := parseID(idName, q.Get(idName))
	return ident.EntityID{Type: kind, ID: id}, err
}

func queryRelation(r *http.Request) (k relation.Key, err error) {
	if k.From, err = queryEntity(r, "fromId", "fromType"); err != nil {
		return k, err
	}
	if k.To, err = queryEntity(r, "toId", "toType"); err != nil {
		return k, err
	}
	k.Type, k.Group = r.URL.Query().Get("relationType"), relation.Group(r.URL.Query().Get("relationTypeGroup"))
	if k.Type == "" {
		return k, invalid("relationType", "is required")
	}
	return k, nil
}

func (a *api) relation(r *http.Request, p auth.Principal) (any, error) {
	k, err := queryRelation(r)
	if err != nil {
		return nil, err
	}
	if err := a.mayRelate(r, p, k, auth.ReadValues); err != nil {
		return nil, err
	}
	return a.Relations.Get(r.Context(), p.Tenant, k)
}

func (a *api) deleteRelationQuietly(r *http.Request, p auth.Principal) (any, error) {
	_, err := a.deleteRelation(r, p)
	return nil, err
}

func (a *api) deleteRelation(r *http.Request, p auth.Principal) (any, error) {
	k, err := queryRelation(r)
	if err != nil {
		return nil, err
	}
	if err := a.mayRelate(r, p, k, auth.WriteValues); err != nil {
		return nil, err
	}
	gone, err := a.Relations.Delete(r.Context(), p.Tenant, k)
	if err != nil {
		return nil, err
	}
	return gone, a.tellOfRelation(r, p, entity.RelationDeleted, gone)
}

func (a *api) deleteRelations(r *http.Request, p auth.Principal) (any, error) {
	e, err := queryEntity(r, "entityId", "entityType")
	if err != nil {
		return nil, err
	}
	if err := a.Guard.Thing(r.Context(), p, e, auth.WriteValues); err != nil {
		return nil, err
	}
	if _, err := a.Relations.DeleteAll(r.Context(), p.Tenant, e, relation.Common); err != nil {
		return nil, err
	}
	return nil, a.Entities.Tell(r.Context(), entity.Change{Kind: entity.RelationsDeleted, Tenant: p.Tenant, Originator: e, Data: "{}"})
}

// searchParameters is the way of a search (rest-api §2.10, §2.4).
type searchParameters struct {
	RootID            string
	RootType          string
	Direction         string
	RelationTypeGroup string
	MaxLevel          int
	FetchLastLevel    bool `json:"fetchLastLevelOnly"`
}

type searchFilter struct {
	RelationType string
	EntityTypes  []string
	Negate       bool
}

func (in searchParameters) read(filters []searchFilter) (q relation.Query, err error) {
	if q.Root.Type, err = entityType(in.RootType); err != nil {
		return q, invalid("parameters.rootType", strconv.Quote(in.RootType)+" is unknown")
	}
	if q.Root.ID, err = parseID("parameters.rootId", in.RootID); err != nil {
		return q, err
	}
	switch q.Direction = relation.Direction(in.Direction); q.Direction {
	case "":
		q.Direction = relation.From
	case relation.From, relation.To:
	default:
		return q, invalid("parameters.direction", strconv.Quote(in.Direction)+" is neither FROM nor TO")
	}
	q.Group, q.MaxLevel, q.FetchLastLevel = relation.Group(in.RelationTypeGroup), in.MaxLevel, in.FetchLastLevel
	for _, f := range filters {
		one := relation.Filter{Type: f.RelationType, Negate: f.Negate}
		for _, name := range f.EntityTypes {
			kind, err := entityType(name)
			if err != nil {
				return q, err
			}
			one.EntityTypes = append(one.EntityTypes, kind)
		}
		q.Filters = append(q.Filters, one)
	}
	return q, nil
}
