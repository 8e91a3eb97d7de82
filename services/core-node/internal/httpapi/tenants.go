package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// tenantRoutes are those of rest-api §2.1.
func (a *api) tenantRoutes() []route {
	return []route{
		{"POST", "/api/tenant", system(), a.saveTenant},
		{"GET", "/api/tenant/{tenantId}", admins(), a.tenant},
		{"GET", "/api/tenant/info/{tenantId}", admins(), a.tenantInfo},
		{"DELETE", "/api/tenant/{tenantId}", admins(), a.deleteTenant},
		{"GET", "/api/tenants", admins(), a.listTenants},
		{"GET", "/api/tenants/list", admins(), a.tenantsByID},
		{"GET", "/api/tenantInfos", system(), a.listTenantInfos},
	}
}

// tenantBody is a tenant as JSON (rest-api §3.5); Name is its title, read only.
type tenantBody struct {
	ID              ref             `json:"id"`
	CreatedTime     int64           `json:"createdTime"`
	AdditionalInfo  json.RawMessage `json:"additionalInfo"`
	Title           string          `json:"title"`
	Region          string          `json:"region"`
	TenantProfileID ref             `json:"tenantProfileId"`
	contact
	Version int64  `json:"version"`
	Name    string `json:"name"`
}

type tenantInfoBody struct {
	tenantBody
	TenantProfileName string `json:"tenantProfileName"`
}

func tenantView(t entity.Tenant) tenantBody {
	return tenantBody{
		ID: refOf(ident.Tenant, t.ID.ID), CreatedTime: t.CreatedTime, AdditionalInfo: objectView(t.AdditionalInfo),
		Title: t.Title, Region: t.Region, TenantProfileID: refOf(ident.TenantProfile, t.Profile),
		contact: contactView(t.Contact), Version: t.Version, Name: t.Title,
	}
}

func (a *api) saveTenant(r *http.Request, _ auth.Principal) (any, error) {
	t, err := readTenant(r)
	if err != nil {
		return nil, err
	}
	save := a.Entities.Tenants.Create
	if !t.ID.IsZero() {
		save = a.Entities.Tenants.Update
	}
	saved, err := save(r.Context(), t)
	if err != nil {
		return nil, err
	}
	return tenantView(saved), nil
}

func readTenant(r *http.Request) (entity.Tenant, error) {
	var in struct {
		ID, TenantProfileID *given
		Title               string
		AdditionalInfo      json.RawMessage
		Version             *int64
		contact
	}
	if err := decode(r, &in); err != nil {
		return entity.Tenant{}, err
	}
	id, err := in.ID.id("id", ident.Tenant)
	if err != nil {
		return entity.Tenant{}, err
	}
	profile, err := in.TenantProfileID.id("tenantProfileId", ident.TenantProfile)
	if err != nil {
		return entity.Tenant{}, err
	}
	info, err := object("additionalInfo", in.AdditionalInfo)
	if err != nil {
		return entity.Tenant{}, err
	}
	reach, err := in.read()
	if err != nil {
		return entity.Tenant{}, err
	}
	return entity.Tenant{
		ID: ident.TenantID{ID: id}, Profile: profile, Title: in.Title, Contact: reach, AdditionalInfo: info, Version: orZero(in.Version),
	}, checkText("title", in.Title)
}

// oneTenant returns the tenant of the path; a tenant's administrators see their own only.
func (a *api) oneTenant(r *http.Request, p auth.Principal) (entity.Tenant, error) {
	id, err := pathID(r, "tenantId")
	if err != nil {
		return entity.Tenant{}, err
	}
	if p.Is(entity.TenantAdmin) && id != p.Tenant.ID {
		return entity.Tenant{}, auth.Denied()
	}
	return a.Entities.Tenants.Get(r.Context(), ident.TenantID{ID: id})
}

func (a *api) tenant(r *http.Request, p auth.Principal) (any, error) {
	t, err := a.oneTenant(r, p)
	if err != nil {
		return nil, err
	}
	return tenantView(t), nil
}

func (a *api) tenantInfo(r *http.Request, p auth.Principal) (any, error) {
	t, err := a.oneTenant(r, p)
	if err != nil {
		return nil, err
	}
	return a.tenantInfoView(r, t)
}

func (a *api) tenantInfoView(r *http.Request, t entity.Tenant) (tenantInfoBody, error) {
	profile, err := a.Entities.Tenants.Profile(r.Context(), t.Profile)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return tenantInfoBody{}, err
	}
	return tenantInfoBody{tenantView(t), profile.Name}, nil
}

func (a *api) deleteTenant(r *http.Request, p auth.Principal) (any, error) {
	t, err := a.oneTenant(r, p)
	if err != nil {
		return nil, err
	}
	return nil, a.Entities.Tenants.Delete(r.Context(), t.ID)
}

func (a *api) listTenants(r *http.Request, p auth.Principal) (any, error) {
	if r.URL.Query().Has("tenantIds") {
		return a.tenantsByID(r, p)
	}
	if !p.Is(entity.SysAdmin) {
		return nil, auth.Denied()
	}
	asked, err := a.pageRequest(r)
	if err != nil {
		return nil, err
	}
	found, err := a.Entities.Tenants.List(r.Context(), asked)
	if err != nil {
		return nil, err
	}
	return paged(found, asked, tenantView), nil
}

func (a *api) listTenantInfos(r *http.Request, _ auth.Principal) (any, error) {
	asked, err := a.pageRequest(r)
	if err != nil {
		return nil, err
	}
	found, err := a.Entities.Tenants.List(r.Context(), asked)
	if err != nil {
		return nil, err
	}
	infos := entity.Page[tenantInfoBody]{Total: found.Total}
	for _, t := range found.Items {
		info, err := a.tenantInfoView(r, t)
		if err != nil {
			return nil, err
		}
		infos.Items = append(infos.Items, info)
	}
	return paged(infos, asked, same), nil
}

// same shows what is a view already.
func same[T any](v T) T { return v }

func (a *api) tenantsByID(r *http.Request, p auth.Principal) (any, error) {
	return listByID(r, "tenantIds", tenantView, func(id ident.ID) (entity.Tenant, error) {
		if p.Is(entity.TenantAdmin) && id != p.Tenant.ID {
			return entity.Tenant{}, storage.ErrNotFound
		}
		return a.Entities.Tenants.Get(r.Context(), ident.TenantID{ID: id})
	})
}

// listByID shows those of the ids asked for that there are and that may be seen; the others are left out.
func listByID[T, V any](r *http.Request, name string, show func(T) V, get func(ident.ID) (T, error)) (any, error) {
	ids, err := idList(r, name)
	if err != nil {
		return nil, err
	}
	shown := []V{}
	for _, id := range ids {
		found, err := get(id)
		if hidden(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		shown = append(shown, show(found))
	}
	return shown, nil
}
