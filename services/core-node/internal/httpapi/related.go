package httpapi

import (
	"net/http"
	"slices"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// relatedRoutes find devices and assets by how they are related (rest-api §2.4, §2.5).
func (a *api) relatedRoutes() []route {
	return []route{
		{"POST", "/api/devices", tenantUsers(), a.relatedDevices},
		{"POST", "/api/assets", tenantUsers(), a.relatedAssets},
	}
}

// related is DeviceSearchQuery and AssetSearchQuery.
type related struct {
	Parameters   searchParameters
	RelationType string
	DeviceTypes  []string
	AssetTypes   []string
}

// farEnds returns the entities of a kind that a search finds, each once.
func (a *api) farEnds(r *http.Request, p auth.Principal, in *related, kind ident.EntityType) ([]ident.ID, error) {
	if err := decode(r, in); err != nil {
		return nil, err
	}
	q, err := in.Parameters.read([]searchFilter{{RelationType: in.RelationType, EntityTypes: []string{kind.String()}}})
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
	seen := map[ident.ID]bool{}
	var ids []ident.ID
	for _, one := range found {
		if id := one.Far(q.Direction).ID; !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// visible shows those of ids that there are, that may be seen and that are of a wanted type.
func visible[T, V any](ids []ident.ID, get func(ident.ID) (T, error), wanted func(T) bool, show func(T) V) (any, error) {
	shown := []V{}
	for _, id := range ids {
		one, err := get(id)
		if hidden(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if wanted(one) {
			shown = append(shown, show(one))
		}
	}
	return shown, nil
}

func (a *api) relatedDevices(r *http.Request, p auth.Principal) (any, error) {
	var in related
	ids, err := a.farEnds(r, p, &in, ident.Device)
	if err != nil {
		return nil, err
	}
	return visible(ids, func(id ident.ID) (entity.Device, error) {
		return a.Guard.Device(r.Context(), p, ident.DeviceID{ID: id})
	}, func(d entity.Device) bool { return len(in.DeviceTypes) == 0 || slices.Contains(in.DeviceTypes, d.Type) }, deviceView)
}

func (a *api) relatedAssets(r *http.Request, p auth.Principal) (any, error) {
	var in related
	ids, err := a.farEnds(r, p, &in, ident.Asset)
	if err != nil {
		return nil, err
	}
	return visible(ids, func(id ident.ID) (entity.Asset, error) {
		return a.Guard.Asset(r.Context(), p, id)
	}, func(x entity.Asset) bool { return len(in.AssetTypes) == 0 || slices.Contains(in.AssetTypes, x.Type) }, assetView)
}
