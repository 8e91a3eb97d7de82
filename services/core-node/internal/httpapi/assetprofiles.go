package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// assetProfileRoutes are those of rest-api §2.5 about asset profiles.
func (a *api) assetProfileRoutes() []route {
	profiles := a.assetProfiles()
	return []route{
		{"POST", "/api/assetProfile", tenants(), a.saveAssetProfile},
		{"GET", "/api/assetProfile/{assetProfileId}", tenants(), profiles.show},
		{"GET", "/api/assetProfile/names", tenantUsers(), a.listAssetProfileNames},
		{"DELETE", "/api/assetProfile/{assetProfileId}", tenants(), profiles.remove},
		{"POST", "/api/assetProfile/{assetProfileId}/default", tenants(), profiles.setDefault},
		{"GET", "/api/assetProfiles", tenants(), profiles.list},
		{"GET", "/api/assetProfileInfo/default", tenantUsers(), profiles.showDefaultInfo},
		{"GET", "/api/assetProfileInfo/{assetProfileId}", tenantUsers(), profiles.showInfo},
		{"GET", "/api/assetProfileInfos", tenantUsers(), profiles.listInfos},
		{"GET", "/api/assetProfileInfos/list", tenants(), profiles.infosByID},
	}
}

func (a *api) assetProfiles() profileKind[entity.AssetProfile] {
	return profileKind[entity.AssetProfile]{
		api: a, view: assetProfileView, info: assetProfileInfoView,
		registry: func() profileRegistry[entity.AssetProfile] { return a.Entities.AssetProfiles },
		page: func(r *http.Request, tenant ident.TenantID, asked entity.PageRequest) (entity.Page[entity.AssetProfile], error) {
			return a.Entities.AssetProfiles.List(r.Context(), tenant, asked)
		},
		identify: func(x entity.AssetProfile) ident.EntityID { return ident.EntityID{Type: ident.AssetProfile, ID: x.ID} },
		inPath:   "assetProfileId", inQuery: "assetProfileIds",
	}
}

// assetProfileRest is what of a profile is kept as it was sent.
type assetProfileRest struct {
	Image                  *string         `json:"image"`
	DefaultDashboardID     json.RawMessage `json:"defaultDashboardId"`
	DefaultEdgeRuleChainID json.RawMessage `json:"defaultEdgeRuleChainId"`
	ExternalID             json.RawMessage `json:"externalId"`
}

// assetProfileBody is AssetProfile (rest-api §3.5).
type assetProfileBody struct {
	ID                 ref     `json:"id"`
	CreatedTime        int64   `json:"createdTime"`
	TenantID           ref     `json:"tenantId"`
	Name               string  `json:"name"`
	Description        *string `json:"description"`
	Default            bool    `json:"default"`
	DefaultRuleChainID *ref    `json:"defaultRuleChainId"`
	DefaultQueueName   *string `json:"defaultQueueName"`
	assetProfileRest
	Version int64 `json:"version"`
}

// assetProfileInfoBody is AssetProfileInfo (rest-api §3.3).
type assetProfileInfoBody struct {
	ID                 ref             `json:"id"`
	Name               string          `json:"name"`
	TenantID           ref             `json:"tenantId"`
	Image              *string         `json:"image"`
	DefaultDashboardID json.RawMessage `json:"defaultDashboardId"`
}

func assetProfileRestOf(x entity.AssetProfile) (rest assetProfileRest, err error) {
	if !none(x.Body) {
		if err := json.Unmarshal(x.Body, &rest); err != nil {
			return rest, fmt.Errorf("read asset profile %v: %w", x.ID, err)
		}
	}
	for _, field := range []*json.RawMessage{&rest.DefaultDashboardID, &rest.DefaultEdgeRuleChainID, &rest.ExternalID} {
		*field = objectView(*field)
	}
	return rest, nil
}

func assetProfileView(x entity.AssetProfile) (any, error) {
	rest, err := assetProfileRestOf(x)
	if err != nil {
		return nil, err
	}
	return assetProfileBody{
		ID: refOf(ident.AssetProfile, x.ID), CreatedTime: x.CreatedTime, TenantID: refOf(ident.Tenant, x.Tenant.ID), Name: x.Name,
		Description: orNull(x.Description), Default: x.IsDefault, DefaultRuleChainID: optional(ident.RuleChain, x.DefaultRuleChain),
		DefaultQueueName: orNull(x.DefaultQueue), assetProfileRest: rest, Version: x.Version,
	}, nil
}

func assetProfileInfoView(x entity.AssetProfile) (any, error) {
	rest, err := assetProfileRestOf(x)
	if err != nil {
		return nil, err
	}
	return assetProfileInfoBody{refOf(ident.AssetProfile, x.ID), x.Name, refOf(ident.Tenant, x.Tenant.ID), rest.Image, rest.DefaultDashboardID}, nil
}

func (a *api) saveAssetProfile(r *http.Request, p auth.Principal) (any, error) {
	var in struct {
		ID, DefaultRuleChainID        *given
		Name                          string
		Description, DefaultQueueName *string
		Version                       *int64
		assetProfileRest
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	id, err := in.ID.id("id", ident.AssetProfile)
	if err != nil {
		return nil, err
	}
	chain, err := in.DefaultRuleChainID.id("defaultRuleChainId", ident.RuleChain)
	if err != nil {
		return nil, err
	}
	if err := checkTexts("name", in.Name, "defaultQueueName", orEmpty(in.DefaultQueueName)); err != nil {
		return nil, err
	}
	if err := a.checkChain(r, p, chain); err != nil {
		return nil, err
	}
	for field, value := range map[string]*json.RawMessage{
		"defaultDashboardId": &in.DefaultDashboardID, "defaultEdgeRuleChainId": &in.DefaultEdgeRuleChainID, "externalId": &in.ExternalID,
	} {
		if *value, err = object(field, *value); err != nil {
			return nil, err
		}
		*value = objectView(*value)
	}
	body, err := json.Marshal(in.assetProfileRest)
	if err != nil {
		return nil, fmt.Errorf("encode asset profile: %w", err)
	}
	save := a.Entities.AssetProfiles.Create
	if !id.IsZero() {
		save = a.Entities.AssetProfiles.Update
		if _, err := a.assetProfiles().own(r, p, id); err != nil {
			return nil, err
		}
	}
	saved, err := save(r.Context(), entity.AssetProfile{
		ID: id, Tenant: p.Tenant, Name: in.Name, Description: orEmpty(in.Description), DefaultRuleChain: chain,
		DefaultQueue: orEmpty(in.DefaultQueueName), Body: body, Version: orZero(in.Version),
	})
	if err != nil {
		return nil, err
	}
	return assetProfileView(saved)
}

// entityInfo is EntityInfo (rest-api §3.3).
type entityInfo struct {
	ID   ref    `json:"id"`
	Name string `json:"name"`
}

func (a *api) listAssetProfileNames(r *http.Request, p auth.Principal) (any, error) {
	active, err := flagOr(r, "activeOnly", false)
	if err != nil {
		return nil, err
	}
	return a.assetProfileNames(r.Context(), p.Tenant, active)
}

// assetProfileNames returns a tenant's asset profiles by name; active: only those that assets have.
func (a *api) assetProfileNames(ctx context.Context, tenant ident.TenantID, active bool) ([]entityInfo, error) {
	found, err := a.Entities.AssetProfiles.List(ctx, tenant, entity.PageRequest{Size: a.Settings.MaxPageSize, Sort: "name"})
	if err != nil {
		return nil, err
	}
	return infosOf(found.Items, active, func(one entity.AssetProfile) (entityInfo, int, error) {
		held, err := a.Entities.Assets.List(ctx, tenant, entity.AssetFilter{Profile: one.ID}, entity.PageRequest{Size: 1})
		return entityInfo{refOf(ident.AssetProfile, one.ID), one.Name}, held.Total, err
	})
}

// infosOf returns what profiles are called; active: only those that something has. describe counts who has one.
func infosOf[T any](profiles []T, active bool, describe func(T) (entityInfo, int, error)) ([]entityInfo, error) {
	infos := []entityInfo{}
	for _, one := range profiles {
		info, holders, err := describe(one)
		if err != nil {
			return nil, err
		}
		if !active || holders > 0 {
			infos = append(infos, info)
		}
	}
	return infos, nil
}
