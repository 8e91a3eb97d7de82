package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// assetRoutes are those of rest-api §2.5 about assets.
func (a *api) assetRoutes() []route {
	return []route{
		{"POST", "/api/asset", tenantUsers(), a.saveAsset},
		{"GET", "/api/asset/{assetId}", tenantUsers(), a.asset},
		{"GET", "/api/asset/info/{assetId}", tenantUsers(), a.assetInfo},
		{"GET", "/api/asset/types", tenantUsers(), a.assetTypes},
		{"DELETE", "/api/asset/{assetId}", tenants(), a.deleteAsset},
		{"POST", "/api/customer/{customerId}/asset/{assetId}", tenants(), a.assignAsset},
		{"DELETE", "/api/customer/asset/{assetId}", tenants(), a.unassignAsset},
		{"GET", "/api/tenant/assets", tenants(), a.listTenantAssets},
		{"GET", "/api/tenant/asset", tenants(), a.assetByName},
		{"GET", "/api/tenant/assetInfos", tenants(), a.listTenantAssetInfos},
		{"GET", "/api/customer/{customerId}/assets", tenantUsers(), a.listCustomerAssets},
		{"GET", "/api/customer/{customerId}/assetInfos", tenantUsers(), a.listCustomerAssetInfos},
		{"GET", "/api/assets", tenantUsers(), a.assetsByID},
		{"GET", "/api/assets/list", tenantUsers(), a.assetsByID},
	}
}

// assetBody is an asset as JSON (rest-api §3.5).
type assetBody struct {
	ID             ref             `json:"id"`
	CreatedTime    int64           `json:"createdTime"`
	AdditionalInfo json.RawMessage `json:"additionalInfo"`
	TenantID       ref             `json:"tenantId"`
	CustomerID     ref             `json:"customerId"`
	Name           string          `json:"name"`
	Type           string          `json:"type"`
	Label          *string         `json:"label"`
	AssetProfileID ref             `json:"assetProfileId"`
	ExternalID     *ref            `json:"externalId"`
	Version        int64           `json:"version"`
}

type assetInfoBody struct {
	assetBody
	CustomerTitle    *string `json:"customerTitle"`
	CustomerIsPublic bool    `json:"customerIsPublic"`
	AssetProfileName string  `json:"assetProfileName"`
}

func assetView(x entity.Asset) assetBody {
	return assetBody{
		ID: refOf(ident.Asset, x.ID), CreatedTime: x.CreatedTime, AdditionalInfo: objectView(x.AdditionalInfo),
		TenantID: refOf(ident.Tenant, x.Tenant.ID), CustomerID: refOf(ident.Customer, x.Customer.ID), Name: x.Name, Type: x.Type,
		Label: orNull(x.Label), AssetProfileID: refOf(ident.AssetProfile, x.Profile), ExternalID: optional(ident.Asset, x.External), Version: x.Version,
	}
}

func readAsset(r *http.Request, tenant ident.TenantID) (entity.Asset, error) {
	var in struct {
		ID, CustomerID, AssetProfileID, ExternalID *given
		Name                                       string
		Type, Label                                *string
		AdditionalInfo                             json.RawMessage
		Version                                    *int64
	}
	if err := decode(r, &in); err != nil {
		return entity.Asset{}, err
	}
	x := entity.Asset{Tenant: tenant, Name: in.Name, Type: orEmpty(in.Type), Label: orEmpty(in.Label), Version: orZero(in.Version)}
	var err error
	read := func(field string, g *given, kind ident.EntityType) (id ident.ID) {
		if err == nil {
			id, err = g.id(field, kind)
		}
		return id
	}
	x.ID = read("id", in.ID, ident.Asset)
	x.Customer.ID = read("customerId", in.CustomerID, ident.Customer)
	x.Profile = read("assetProfileId", in.AssetProfileID, ident.AssetProfile)
	x.External = read("externalId", in.ExternalID, ident.Asset)
	if err != nil {
		return x, err
	}
	if x.AdditionalInfo, err = object("additionalInfo", in.AdditionalInfo); err != nil {
		return x, err
	}
	return x, checkTexts("name", x.Name, "type", x.Type, "label", x.Label)
}

func (a *api) saveAsset(r *http.Request, p auth.Principal) (any, error) {
	x, err := readAsset(r, p.Tenant)
	if err != nil {
		return nil, err
	}
	var saved entity.Asset
	switch {
	case !x.ID.IsZero():
		if _, err := a.Guard.Asset(r.Context(), p, x.ID); err != nil {
			return nil, err
		}
		saved, err = a.Entities.Assets.Update(r.Context(), x)
	case !p.Is(entity.TenantAdmin):
		return nil, auth.Denied()
	default:
		saved, err = uniquify(r, x.Name, func(name string) (bool, error) {
			_, err := a.Entities.Assets.ByName(r.Context(), p.Tenant, name)
			return exists(err)
		}, func(name string) (entity.Asset, error) {
			x.Name = name
			return a.Entities.Assets.Create(r.Context(), x)
		})
	}
	if err != nil {
		return nil, err
	}
	return assetView(saved), nil
}

// oneAsset returns the asset of the path that p may see.
func (a *api) oneAsset(r *http.Request, p auth.Principal) (entity.Asset, error) {
	id, err := pathID(r, "assetId")
	if err != nil {
		return entity.Asset{}, err
	}
	return a.Guard.Asset(r.Context(), p, id)
}

func (a *api) asset(r *http.Request, p auth.Principal) (any, error) {
	x, err := a.oneAsset(r, p)
	if err != nil {
		return nil, err
	}
	return assetView(x), nil
}

func (a *api) assetInfo(r *http.Request, p auth.Principal) (any, error) {
	x, err := a.oneAsset(r, p)
	if err != nil {
		return nil, err
	}
	return a.assetInfoView(r.Context(), x)
}

func (a *api) assetInfoView(ctx context.Context, x entity.Asset) (assetInfoBody, error) {
	info := assetInfoBody{assetBody: assetView(x), AssetProfileName: x.Type}
	if x.Customer.IsZero() {
		return info, nil
	}
	c, err := a.Entities.Customers.Get(ctx, x.Tenant, x.Customer)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return info, err
	}
	info.CustomerTitle, info.CustomerIsPublic = orNull(c.Title), isPublic(c)
	return info, nil
}

func (a *api) deleteAsset(r *http.Request, p auth.Principal) (any, error) {
	x, err := a.oneAsset(r, p)
	if err != nil {
		return nil, err
	}
	return nil, a.Entities.Assets.Delete(r.Context(), p.Tenant, x.ID)
}

func (a *api) assignAsset(r *http.Request, p auth.Principal) (any, error) {
	c, err := a.oneCustomer(r, p)
	if err != nil {
		return nil, err
	}
	x, err := a.oneAsset(r, p)
	if err != nil {
		return nil, err
	}
	assigned, err := a.Entities.Assets.Assign(r.Context(), p.Tenant, x.ID, c.ID)
	if err != nil {
		return nil, err
	}
	return assetView(assigned), nil
}

func (a *api) unassignAsset(r *http.Request, p auth.Principal) (any, error) {
	x, err := a.oneAsset(r, p)
	if err != nil {
		return nil, err
	}
	free, err := a.Entities.Assets.Unassign(r.Context(), p.Tenant, x.ID)
	if err != nil {
		return nil, err
	}
	return assetView(free), nil
}

func (a *api) assetByName(r *http.Request, p auth.Principal) (any, error) {
	name := r.URL.Query().Get("assetName")
	if name == "" {
		return nil, invalid("assetName", "is required")
	}
	x, err := a.Entities.Assets.ByName(r.Context(), p.Tenant, name)
	if err != nil {
		return nil, err
	}
	return assetView(x), nil
}

func (a *api) assetsByID(r *http.Request, p auth.Principal) (any, error) {
	return listByID(r, "assetIds", assetView, func(id ident.ID) (entity.Asset, error) { return a.Guard.Asset(r.Context(), p, id) })
}

func (a *api) listTenantAssets(r *http.Request, p auth.Principal) (any, error) {
	if r.URL.Query().Has("assetName") {
		return a.assetByName(r, p)
	}
	return a.listAssets(r, p, ident.CustomerID{})
}

func (a *api) listTenantAssetInfos(r *http.Request, p auth.Principal) (any, error) {
	return a.listAssetInfos(r, p, ident.CustomerID{})
}

func (a *api) listCustomerAssets(r *http.Request, p auth.Principal) (any, error) {
	c, err := a.oneCustomer(r, p)
	if err != nil {
		return nil, err
	}
	return a.listAssets(r, p, c.ID)
}

func (a *api) listCustomerAssetInfos(r *http.Request, p auth.Principal) (any, error) {
	c, err := a.oneCustomer(r, p)
	if err != nil {
		return nil, err
	}
	return a.listAssetInfos(r, p, c.ID)
}

func (a *api) listAssets(r *http.Request, p auth.Principal, customer ident.CustomerID) (any, error) {
	asked, found, err := a.assetPage(r, p, customer)
	if err != nil {
		return nil, err
	}
	return paged(found, asked, assetView), nil
}

func (a *api) listAssetInfos(r *http.Request, p auth.Principal, customer ident.CustomerID) (any, error) {
	asked, found, err := a.assetPage(r, p, customer)
	if err != nil {
		return nil, err
	}
	infos := entity.Page[assetInfoBody]{Total: found.Total}
	for _, x := range found.Items {
		info, err := a.assetInfoView(r.Context(), x)
		if err != nil {
			return nil, err
		}
		infos.Items = append(infos.Items, info)
	}
	return paged(infos, asked, same), nil
}

func (a *api) assetPage(r *http.Request, p auth.Principal, customer ident.CustomerID) (asked entity.PageRequest, found entity.Page[entity.Asset], err error) {
	f := entity.AssetFilter{Type: r.URL.Query().Get("type"), Customer: customer}
	if f.Profile, err = queryID(r, "assetProfileId"); err != nil {
		return asked, found, err
	}
	if asked, err = a.pageRequest(r); err != nil {
		return asked, found, err
	}
	found, err = a.Entities.Assets.List(r.Context(), p.Tenant, f, asked)
	return asked, found, err
}

// subtype is EntitySubtype (rest-api §3.3).
type subtype struct {
	TenantID   ref    `json:"tenantId"`
	EntityType string `json:"entityType"`
	Type       string `json:"type"`
}

func subtypes(tenant ident.TenantID, kind ident.EntityType, profiles []entityInfo) []subtype {
	types := []subtype{}
	for _, one := range profiles {
		types = append(types, subtype{refOf(ident.Tenant, tenant.ID), kind.String(), one.Name})
	}
	return types
}

// assetTypes are the names of the profiles.
func (a *api) assetTypes(r *http.Request, p auth.Principal) (any, error) {
	names, err := a.assetProfileNames(r.Context(), p.Tenant, false)
	if err != nil {
		return nil, err
	}
	return subtypes(p.Tenant, ident.Asset, names), nil
}
