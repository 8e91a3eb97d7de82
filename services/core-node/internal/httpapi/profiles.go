package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// profileRoutes are those of rest-api §2.5 about device profiles.
func (a *api) profileRoutes() []route {
	return []route{
		{"POST", "/api/deviceProfile", tenants(), a.saveProfile},
		{"GET", "/api/deviceProfile/{deviceProfileId}", tenants(), a.profile},
		{"DELETE", "/api/deviceProfile/{deviceProfileId}", tenants(), a.deleteProfile},
		{"POST", "/api/deviceProfile/{deviceProfileId}/default", tenants(), a.setDefaultProfile},
		{"GET", "/api/deviceProfiles", tenants(), a.listProfiles},
		{"GET", "/api/deviceProfileInfo/default", tenantUsers(), a.defaultProfileInfo},
		{"GET", "/api/deviceProfileInfo/{deviceProfileId}", tenantUsers(), a.profileInfo},
		{"GET", "/api/deviceProfileInfos", tenantUsers(), a.listProfileInfos},
		{"GET", "/api/deviceProfileInfos/list", tenants(), a.profileInfosByID},
	}
}

// profileRest is what of a profile is kept as it was sent.
type profileRest struct {
	Description            *string         `json:"description"`
	Image                  *string         `json:"image"`
	Type                   string          `json:"type"`
	ProvisionType          string          `json:"provisionType"`
	DefaultDashboardID     json.RawMessage `json:"defaultDashboardId"`
	ProfileData            json.RawMessage `json:"profileData"`
	ProvisionDeviceKey     *string         `json:"provisionDeviceKey"`
	FirmwareID             json.RawMessage `json:"firmwareId"`
	SoftwareID             json.RawMessage `json:"softwareId"`
	DefaultEdgeRuleChainID json.RawMessage `json:"defaultEdgeRuleChainId"`
	ExternalID             json.RawMessage `json:"externalId"`
}

// profileBody is DeviceProfile (rest-api §3.5).
type profileBody struct {
	ID          ref    `json:"id"`
	CreatedTime int64  `json:"createdTime"`
	TenantID    ref    `json:"tenantId"`
	Name        string `json:"name"`
	Default     bool   `json:"default"`
	profileRest
	TransportType      string  `json:"transportType"`
	DefaultRuleChainID *ref    `json:"defaultRuleChainId"`
	DefaultQueueName   *string `json:"defaultQueueName"`
	Version            int64   `json:"version"`
}

// profileInfoBody is DeviceProfileInfo (rest-api §3.3).
type profileInfoBody struct {
	ID                 ref             `json:"id"`
	Name               string          `json:"name"`
	TenantID           ref             `json:"tenantId"`
	Image              *string         `json:"image"`
	DefaultDashboardID json.RawMessage `json:"defaultDashboardId"`
	Type               string          `json:"type"`
	TransportType      string          `json:"transportType"`
}

func restOf(p entity.Profile) (profileRest, error) {
	var rest profileRest
	if err := json.Unmarshal(p.Body, &rest); err != nil {
		return rest, fmt.Errorf("read device profile %v: %w", p.ID, err)
	}
	return rest, nil
}

func profileView(p entity.Profile) (any, error) {
	rest, err := restOf(p)
	if err != nil {
		return nil, err
	}
	return profileBody{
		ID: refOf(ident.DeviceProfile, p.ID), CreatedTime: p.CreatedTime, TenantID: refOf(ident.Tenant, p.Tenant.ID),
		Name: p.Name, Default: p.IsDefault, profileRest: rest, TransportType: p.TransportType,
		DefaultRuleChainID: optional(ident.RuleChain, p.DefaultRuleChain), DefaultQueueName: orNull(p.DefaultQueue), Version: p.Version,
	}, nil
}

func profileInfoView(p entity.Profile) (any, error) {
	rest, err := restOf(p)
	if err != nil {
		return nil, err
	}
	return profileInfoBody{
		ID: refOf(ident.DeviceProfile, p.ID), Name: p.Name, TenantID: refOf(ident.Tenant, p.Tenant.ID), Image: rest.Image,
		DefaultDashboardID: objectView(rest.DefaultDashboardID), Type: rest.Type, TransportType: p.TransportType,
	}, nil
}

func (a *api) saveProfile(r *http.Request, p auth.Principal) (any, error) {
	var in struct {
		ID, DefaultRuleChainID *given
		Name                   string
		TransportType          string
		DefaultQueueName       *string
		Version                *int64
		profileRest
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	id, err := in.ID.id("id", ident.DeviceProfile)
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
	body, err := in.complete()
	if err != nil {
		return nil, err
	}
	save := a.Entities.DeviceProfiles.Create
	if !id.IsZero() {
		save = a.Entities.DeviceProfiles.Update
		if _, err := a.ownProfile(r, p, id); err != nil {
			return nil, err
		}
	}
	saved, err := save(r.Context(), entity.Profile{
		ID: id, Tenant: p.Tenant, Name: in.Name, TransportType: in.TransportType, DefaultRuleChain: chain,
		DefaultQueue: orEmpty(in.DefaultQueueName), Body: body, Version: orZero(in.Version),
	})
	if err != nil {
		return nil, err
	}
	return profileView(saved)
}

// plainProfile is the profileData of a profile nobody configured.
const plainProfile = `{"configuration":{"type":"DEFAULT"},"transportConfiguration":{"type":"DEFAULT"},` +
	`"provisionConfiguration":{"type":"DISABLED","provisionDeviceSecret":null},"alarms":null}`

// complete fills in what was left out and returns all as it is stored.
func (rest profileRest) complete() (json.RawMessage, error) {
	data, err := object("profileData", rest.ProfileData)
	if err != nil {
		return nil, err
	}
	if data == nil {
		data = json.RawMessage(plainProfile)
	}
	rest.ProfileData = data
	if rest.Type == "" {
		rest.Type = "DEFAULT"
	}
	if rest.Type != "DEFAULT" {
		return nil, invalid("type", fmt.Sprintf("%q is unknown", rest.Type))
	}
	if rest.ProvisionType == "" {
		rest.ProvisionType = "DISABLED"
	}
	for field, value := range map[string]*json.RawMessage{
		"defaultDashboardId": &rest.DefaultDashboardID, "firmwareId": &rest.FirmwareID, "softwareId": &rest.SoftwareID,
		"defaultEdgeRuleChainId": &rest.DefaultEdgeRuleChainID, "externalId": &rest.ExternalID,
	} {
		given, err := object(field, *value)
		if err != nil {
			return nil, err
		}
		*value = objectView(given)
	}
	return json.Marshal(rest)
}

// checkChain makes sure that a rule chain named is the tenant's.
func (a *api) checkChain(r *http.Request, p auth.Principal, chain ident.ID) error {
	if chain.IsZero() {
		return nil
	}
	if _, err := a.Entities.RuleChains.Chain(r.Context(), p.Tenant, chain); hidden(err) {
		return invalid("defaultRuleChainId", "there is no such rule chain")
	} else if err != nil {
		return err
	}
	return nil
}

func (a *api) ownProfile(r *http.Request, p auth.Principal, id ident.ID) (entity.Profile, error) {
	found, err := a.Entities.DeviceProfiles.Get(r.Context(), p.Tenant, id)
	return found, a.Guard.Foreign(r.Context(), ident.EntityID{Type: ident.DeviceProfile, ID: id}, err)
}

// oneProfile returns the profile of the path that p may see.
func (a *api) oneProfile(r *http.Request, p auth.Principal) (entity.Profile, error) {
	id, err := pathID(r, "deviceProfileId")
	if err != nil {
		return entity.Profile{}, err
	}
	return a.ownProfile(r, p, id)
}

func (a *api) profile(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.oneProfile(r, p)
	if err != nil {
		return nil, err
	}
	return profileView(found)
}

func (a *api) profileInfo(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.oneProfile(r, p)
	if err != nil {
		return nil, err
	}
	return profileInfoView(found)
}

func (a *api) defaultProfileInfo(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.Entities.DeviceProfiles.Default(r.Context(), p.Tenant)
	if err != nil {
		return nil, err
	}
	return profileInfoView(found)
}

func (a *api) deleteProfile(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.oneProfile(r, p)
	if err != nil {
		return nil, err
	}
	return nil, a.Entities.DeviceProfiles.Delete(r.Context(), p.Tenant, found.ID)
}

func (a *api) setDefaultProfile(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.oneProfile(r, p)
	if err != nil {
		return nil, err
	}
	changed, err := a.Entities.DeviceProfiles.SetDefault(r.Context(), p.Tenant, found.ID)
	if err != nil {
		return nil, err
	}
	return profileView(changed)
}

func (a *api) listProfiles(r *http.Request, p auth.Principal) (any, error) {
	return a.profilePage(r, p, "", profileView)
}

func (a *api) listProfileInfos(r *http.Request, p auth.Principal) (any, error) {
	if r.URL.Query().Has("deviceProfileIds") {
		return a.profileInfosByID(r, p)
	}
	return a.profilePage(r, p, r.URL.Query().Get("transportType"), profileInfoView)
}

func (a *api) profilePage(r *http.Request, p auth.Principal, transport string, show func(entity.Profile) (any, error)) (any, error) {
	asked, err := a.pageRequest(r)
	if err != nil {
		return nil, err
	}
	found, err := a.Entities.DeviceProfiles.List(r.Context(), p.Tenant, transport, asked)
	if err != nil {
		return nil, err
	}
	views := entity.Page[any]{Total: found.Total}
	for _, one := range found.Items {
		view, err := show(one)
		if err != nil {
			return nil, err
		}
		views.Items = append(views.Items, view)
	}
	return paged(views, asked, same), nil
}

func (a *api) profileInfosByID(r *http.Request, p auth.Principal) (any, error) {
	if !p.Is(entity.TenantAdmin) {
		return nil, auth.Denied()
	}
	return listByID(r, "deviceProfileIds", same, func(id ident.ID) (any, error) {
		found, err := a.Entities.DeviceProfiles.Get(r.Context(), p.Tenant, id)
		if err != nil {
			return nil, err
		}
		return profileInfoView(found)
	})
}
