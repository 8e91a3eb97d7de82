package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
)

// relationListRoutes are those of rest-api §2.10 that find relations, by parameters and by path.
func (a *api) relationListRoutes() []route {
	routes := []route{
		{"GET", "/api/relations", tenantUsers(), a.listRelations},
		{"GET", "/api/relations/info", tenantUsers(), a.listRelationInfos},
		{"POST", "/api/relations", tenantUsers(), a.searchRelations},
		{"POST", "/api/relations/info", tenantUsers(), a.searchRelationInfos},
	}
	for _, d := range []relation.Direction{relation.From, relation.To} {
		side := map[relation.Direction]string{relation.From: "from", relation.To: "to"}[d]
		list, infos := a.relationsOf(d, a.shownRelations), a.relationsOf(d, a.relationInfos)
		routes = append(routes,
			route{"GET", "/api/relations/" + side + "/{entityType}/{entityId}", tenantUsers(), list},
			route{"GET", "/api/relations/" + side + "/{entityType}/{entityId}/{relationType}", tenantUsers(), list},
			route{"GET", "/api/relations/info/" + side + "/{entityType}/{entityId}", tenantUsers(), infos},
		)
	}
	return routes
}

type showRelations func(r *http.Request, p auth.Principal, found []relation.Relation) (any, error)

func (a *api) listRelations(r *http.Request, p auth.Principal) (any, error) {
	return a.relationsAsked(r, p, a.shownRelations)
}

func (a *api) listRelationInfos(r *http.Request, p auth.Principal) (any, error) {
	return a.relationsAsked(r, p, a.relationInfos)
}

// relationsAsked finds what starts at one entity or ends at another, as parameters say.
func (a *api) relationsAsked(r *http.Request, p auth.Principal, show showRelations) (any, error) {
	d, idName, typeName := relation.From, "fromId", "fromType"
	if q := r.URL.Query(); !q.Has("fromId") && q.Has("toId") {
		d, idName, typeName = relation.To, "toId", "toType"
	}
	e, err := queryEntity(r, idName, typeName)
	if err != nil {
		return nil, err
	}
	return a.relationsAt(r, p, e, d, r.URL.Query().Get("relationType"), show)
}

func (a *api) relationsOf(d relation.Direction, show showRelations) handler {
	return func(r *http.Request, p auth.Principal) (any, error) {
		e, err := pathEntity(r)
		if err != nil {
			return nil, err
		}
		kind := chi.URLParam(r, "relationType")
		if kind == "" {
			kind = r.URL.Query().Get("relationType")
		}
		return a.relationsAt(r, p, e, d, kind, show)
	}
}

func (a *api) relationsAt(r *http.Request, p auth.Principal, e ident.EntityID, d relation.Direction, kind string, show showRelations) (any, error) {
	if err := a.Guard.Thing(r.Context(), p, e, auth.ReadValues); err != nil {
		return nil, err
	}
	find := a.Relations.From
	if d == relation.To {
		find = a.Relations.To
	}
	found, err := find(r.Context(), p.Tenant, e, kind, r.URL.Query().Get("relationTypeGroup"))
	if err != nil {
		return nil, err
	}
	return show(r, p, found)
}

// unhidden leaves out relations with an end that p may not see.
func (a *api) unhidden(r *http.Request, p auth.Principal, found []relation.Relation) ([]relation.Relation, error) {
	kept := []relation.Relation{}
	seen := map[ident.EntityID]bool{}
	for _, one := range found {
		shown := true
		for _, e := range []ident.EntityID{one.From, one.To} {
			may, known := seen[e]
			if !known {
				err := a.Guard.Thing(r.Context(), p, e, auth.ReadValues)
				if err != nil && !hidden(err) {
					return nil, err
				}
				may = err == nil
				seen[e] = may
			}
			shown = shown && may
		}
		if shown {
			kept = append(kept, one)
		}
	}
	return kept, nil
}

func (a *api) shownRelations(r *http.Request, p auth.Principal, found []relation.Relation) (any, error) {
	return a.unhidden(r, p, found)
}

// relationInfo is RelationInfo: a relation with the names of its ends.
type relationInfo struct {
	of               relation.Relation
	fromName, toName string
}

// MarshalJSON implements json.Marshaler.
func (i relationInfo) MarshalJSON() ([]byte, error) {
	body, err := json.Marshal(i.of)
	if err != nil {
		return nil, err
	}
	names, err := json.Marshal(struct {
		FromName *string `json:"fromName"`
		ToName   *string `json:"toName"`
	}{orNull(i.fromName), orNull(i.toName)})
	if err != nil {
		return nil, err
	}
	return append(append(body[:len(body)-1], ','), names[1:]...), nil
}

func (a *api) relationInfos(r *http.Request, p auth.Principal, found []relation.Relation) (any, error) {
	kept, err := a.unhidden(r, p, found)
	if err != nil {
		return nil, err
	}
	called := a.names(p.Tenant)
	infos := []relationInfo{}
	for _, one := range kept {
		info := relationInfo{of: one}
		if info.fromName, _, err = called.of(r.Context(), one.From); err != nil {
			return nil, err
		}
		if info.toName, _, err = called.of(r.Context(), one.To); err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func (a *api) searchRelations(r *http.Request, p auth.Principal) (any, error) {
	return a.search(r, p, a.shownRelations)
}

func (a *api) searchRelationInfos(r *http.Request, p auth.Principal) (any, error) {
	return a.search(r, p, a.relationInfos)
}

func (a *api) search(r *http.Request, p auth.Principal, show showRelations) (any, error) {
	var in struct {
		Parameters searchParameters
		Filters    []searchFilter
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	q, err := in.Parameters.read(in.Filters)
	if err != nil {
		return nil, err
	}
	if err := a.Guard.Thing(r.Context(), p, q.Root, auth.ReadValues); err != nil {
		return nil, err
	}
	found, err := a.Relations.Search(r.Context(), p.Tenant, q)
	if err != nil {
		return nil, err
	}
	return show(r, p, found)
}
