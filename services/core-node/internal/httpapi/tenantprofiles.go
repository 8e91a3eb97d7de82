package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// tenantProfileRoutes are those of rest-api §2.1 that are about profiles.
func (a *api) tenantProfileRoutes() []route {
	return []route{
		{"POST", "/api/tenantProfile", system(), a.saveTenantProfile},
		{"GET", "/api/tenantProfile/{tenantProfileId}", system(), a.tenantProfile},
		{"DELETE", "/api/tenantProfile/{tenantProfileId}", system(), a.deleteTenantProfile},
		{"POST", "/api/tenantProfile/{tenantProfileId}/default", system(), a.setDefaultTenantProfile},
		{"GET", "/api/tenantProfileInfo/default", system(), a.defaultTenantProfileInfo},
		{"GET", "/api/tenantProfileInfo/{tenantProfileId}", system(), a.tenantProfileInfo},
		{"GET", "/api/tenantProfiles", system(), a.listTenantProfiles},
		{"GET", "/api/tenantProfiles/list", system(), a.tenantProfilesByID},
		{"GET", "/api/tenantProfileInfos", system(), a.listTenantProfileInfos},
	}
}

// hidden reports whether err says that an entity is not there for whoever asks.
func hidden(err error) bool {
	return errors.Is(err, storage.ErrNotFound) || fault.KindOf(err) == fault.NotFound || fault.KindOf(err) == fault.Denied
}

// tenantProfileBody is a tenant profile as JSON (rest-api §3.5).
type tenantProfileBody struct {
	ID                   ref             `json:"id"`
	CreatedTime          int64           `json:"createdTime"`
	Name                 string          `json:"name"`
	Description          *string         `json:"description"`
	Default              bool            `json:"default"`
	IsolatedTbRuleEngine bool            `json:"isolatedTbRuleEngine"`
	ProfileData          json.RawMessage `json:"profileData"`
	Version              int64           `json:"version"`
}

// emptyTenantProfile is the profileData of a profile that sets no limits.
const emptyTenantProfile = `{"configuration":{"type":"DEFAULT"},"queueConfiguration":null}`

func tenantProfileView(p entity.TenantProfile) tenantProfileBody {
	data := p.Data
	if none(data) {
		data = json.RawMessage(emptyTenantProfile)
	}
	return tenantProfileBody{
		ID: refOf(ident.TenantProfile, p.ID), CreatedTime: p.CreatedTime, Name: p.Name, Description: orNull(p.Description),
		Default: p.IsDefault, IsolatedTbRuleEngine: p.IsolatedRuleEngine, ProfileData: data, Version: p.Version,
	}
}

// infoBody is EntityInfo (rest-api §3.3).
type infoBody struct {
	ID   ref    `json:"id"`
	Name string `json:"name"`
}

func tenantProfileInfoView(p entity.TenantProfile) infoBody {
	return infoBody{refOf(ident.TenantProfile, p.ID), p.Name}
}

func (a *api) saveTenantProfile(r *http.Request, _ auth.Principal) (any, error) {
	var in struct {
		ID                   *given
		Name                 string
		Description          *string
		IsolatedTbRuleEngine bool
		ProfileData          json.RawMessage
		Version              *int64
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	id, err := in.ID.id("id", ident.TenantProfile)
	if err != nil {
		return nil, err
	}
	if err := checkTexts("name", in.Name, "description", orEmpty(in.Description)); err != nil {
		return nil, err
	}
	data, err := object("profileData", in.ProfileData)
	if err != nil {
		return nil, err
	}
	save := a.Entities.Tenants.CreateProfile
	if !id.IsZero() {
		save = a.Entities.Tenants.UpdateProfile
	}
	saved, err := save(r.Context(), entity.TenantProfile{
		ID: id, Name: in.Name, Description: orEmpty(in.Description), IsolatedRuleEngine: in.IsolatedTbRuleEngine, Data: data, Version: orZero(in.Version),
	})
	if err != nil {
		return nil, err
	}
	return tenantProfileView(saved), nil
}

func (a *api) oneTenantProfile(r *http.Request) (entity.TenantProfile, error) {
	id, err := pathID(r, "tenantProfileId")
	if err != nil {
		return entity.TenantProfile{}, err
	}
	return a.Entities.Tenants.Profile(r.Context(), id)
}

func (a *api) tenantProfile(r *http.Request, _ auth.Principal) (any, error) {
	p, err := a.oneTenantProfile(r)
	if err != nil {
		return nil, err
	}
	return tenantProfileView(p), nil
}

func (a *api) tenantProfileInfo(r *http.Request, _ auth.Principal) (any, error) {
	p, err := a.oneTenantProfile(r)
	if err != nil {
		return nil, err
	}
	return tenantProfileInfoView(p), nil
}

func (a *api) defaultTenantProfileInfo(r *http.Request, _ auth.Principal) (any, error) {
	p, err := a.Entities.Tenants.DefaultProfile(r.Context())
	if err != nil {
		return nil, err
	}
	return tenantProfileInfoView(p), nil
}

func (a *api) setDefaultTenantProfile(r *http.Request, _ auth.Principal) (any, error) {
	p, err := a.oneTenantProfile(r)
	if err != nil {
		return nil, err
	}
	if p, err = a.Entities.Tenants.SetDefaultProfile(r.Context(), p.ID); err != nil {
		return nil, err
	}
	return tenantProfileView(p), nil
}

func (a *api) deleteTenantProfile(r *http.Request, _ auth.Principal) (any, error) {
	p, err := a.oneTenantProfile(r)
	if err != nil {
		return nil, err
	}
	return nil, a.Entities.Tenants.DeleteProfile(r.Context(), p.ID)
}

func (a *api) listTenantProfiles(r *http.Request, p auth.Principal) (any, error) {
	if r.URL.Query().Has("ids") {
		return a.tenantProfilesByID(r, p)
	}
	asked, found, err := a.tenantProfilePage(r)
	if err != nil {
		return nil, err
	}
	return paged(found, asked, tenantProfileView), nil
}

func (a *api) listTenantProfileInfos(r *http.Request, _ auth.Principal) (any, error) {
	asked, found, err := a.tenantProfilePage(r)
	if err != nil {
		return nil, err
	}
	return paged(found, asked, tenantProfileInfoView), nil
}

func (a *api) tenantProfilePage(r *http.Request) (entity.PageRequest, entity.Page[entity.TenantProfile], error) {
	asked, err := a.pageRequest(r)
	if err != nil {
		return asked, entity.Page[entity.TenantProfile]{}, err
	}
	found, err := a.Entities.Tenants.ListProfiles(r.Context(), asked)
	return asked, found, err
}

func (a *api) tenantProfilesByID(r *http.Request, _ auth.Principal) (any, error) {
	return listByID(r, "ids", tenantProfileView, func(id ident.ID) (entity.TenantProfile, error) {
		return a.Entities.Tenants.Profile(r.Context(), id)
	})
}
