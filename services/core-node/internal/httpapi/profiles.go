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

// profileRoutes are those of rest-api §2.5 about device profiles.
func (a *api) profileRoutes() []route {
	profiles := a.deviceProfiles()
	infos := profiles
	infos.page = func(r *http.Request, tenant ident.TenantID, asked entity.PageRequest) (entity.Page[entity.Profile], error) {
		return a.Entities.DeviceProfiles.List(r.Context(), tenant, r.URL.Query().Get("transportType"), asked)
	}
	return []route{
		{"POST", "/api/deviceProfile", tenants(), a.saveProfile},
		{"GET", "/api/deviceProfile/{deviceProfileId}", tenants(), profiles.show},
		{"DELETE", "/api/deviceProfile/{deviceProfileId}", tenants(), profiles.remove},
		{"POST", "/api/deviceProfile/{deviceProfileId}/default", tenants(), profiles.setDefault},
		{"GET", "/api/deviceProfiles", tenants(), profiles.list},
		{"GET", "/api/deviceProfileInfo/default", tenantUsers(), profiles.showDefaultInfo},
		{"GET", "/api/deviceProfileInfo/{deviceProfileId}", tenantUsers(), profiles.showInfo},
		{"GET", "/api/deviceProfileInfos", tenantUsers(), infos.listInfos},
		{"GET", "/api/deviceProfileInfos/list", tenants(), profiles.infosByID},
		{"GET", "/api/deviceProfile/names", tenantUsers(), a.listProfileNames},
	}
}

func (a *api) deviceProfiles() profileKind[entity.Profile] {
	return profileKind[entity.Profile]{
		api: a, view: profileView, info: profileInfoView,
		registry: func() profileRegistry[entity.Profile] { return a.Entities.DeviceProfiles },
		page: func(r *http.Request, tenant ident.TenantID, asked entity.PageRequest) (entity.Page[entity.Profile], error) {
			return a.Entities.DeviceProfiles.List(r.Context(), tenant, "", asked)
		},
		identify: func(x entity.Profile) ident.EntityID { return ident.EntityID{Type: ident.DeviceProfile, ID: x.ID} },
		inPath:   "deviceProfileId", inQuery: "deviceProfileIds",
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
		if _, err := a.deviceProfiles().own(r, p, id); err != nil {
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

func (a *api) listProfileNames(r *http.Request, p auth.Principal) (any, error) {
	active, err := flagOr(r, "activeOnly", false)
	if err != nil {
		return nil, err
	}
	return a.deviceProfileNames(r.Context(), p.Tenant, active)
}

// deviceProfileNames returns a tenant's device profiles by name; active: only those that devices have.
func (a *api) deviceProfileNames(ctx context.Context, tenant ident.TenantID, active bool) ([]entityInfo, error) {
	found, err := a.Entities.DeviceProfiles.List(ctx, tenant, "", entity.PageRequest{Size: a.Settings.MaxPageSize, Sort: "name"})
	if err != nil {
		return nil, err
	}
	return infosOf(found.Items, active, func(one entity.Profile) (entityInfo, int, error) {
		held, err := a.Entities.Devices.List(ctx, tenant, entity.DeviceFilter{Profile: one.ID}, entity.PageRequest{Size: 1})
		return entityInfo{refOf(ident.DeviceProfile, one.ID), one.Name}, held.Total, err
	})
}
