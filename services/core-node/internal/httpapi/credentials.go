package httpapi

import (
	"encoding/binary"
	"net/http"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// credentialsRoutes are those of rest-api §2.4 about what devices prove themselves with.
func (a *api) credentialsRoutes() []route {
	return []route{
		{"GET", "/api/device/{deviceId}/credentials", tenantUsers(), a.credentials},
		{"POST", "/api/device/credentials", tenants(), a.saveCredentials},
	}
}

// bareID is an id whose type is not told: that of credentials.
type bareID struct {
	ID string `json:"id"`
}

// credentialsBody is DeviceCredentials (rest-api §3.5).
type credentialsBody struct {
	ID               bareID                 `json:"id"`
	CreatedTime      int64                  `json:"createdTime"`
	DeviceID         ref                    `json:"deviceId"`
	CredentialsType  entity.CredentialsType `json:"credentialsType"`
	CredentialsID    string                 `json:"credentialsId"`
	CredentialsValue *string                `json:"credentialsValue"`
	Version          int64                  `json:"version"`
}

func credentialsView(c entity.Credentials) credentialsBody {
	return credentialsBody{
		ID: bareID{c.ID.String()}, CreatedTime: createdAt(c.ID), DeviceID: refOf(ident.Device, c.Device.ID),
		CredentialsType: c.Type, CredentialsID: c.CredentialsID, CredentialsValue: orNull(c.CredentialsValue), Version: c.Version,
	}
}

// createdAt reads the time an id was made, ms: the first 48 bits (RFC 9562 §5.7).
func createdAt(id ident.ID) int64 { return int64(binary.BigEndian.Uint64(id[:8]) >> 16) }

type credentialsInput struct {
	ID, DeviceID     *given
	CredentialsType  entity.CredentialsType
	CredentialsID    *string
	CredentialsValue *string
	Version          *int64
}

func (in credentialsInput) read(tenant ident.TenantID) entity.Credentials {
	return entity.Credentials{
		Tenant: tenant, Type: in.CredentialsType, CredentialsID: orEmpty(in.CredentialsID),
		CredentialsValue: orEmpty(in.CredentialsValue), Version: orZero(in.Version),
	}
}

func (a *api) credentials(r *http.Request, p auth.Principal) (any, error) {
	d, err := a.oneDevice(r, p)
	if err != nil {
		return nil, err
	}
	c, err := a.Entities.Devices.Credentials(r.Context(), p.Tenant, d.ID)
	if err != nil {
		return nil, err
	}
	return credentialsView(c), nil
}

func (a *api) saveCredentials(r *http.Request, p auth.Principal) (any, error) {
	var in credentialsInput
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	device, err := in.DeviceID.id("deviceId", ident.Device)
	if err != nil {
		return nil, err
	}
	if device.IsZero() {
		return nil, invalid("deviceId", "is required")
	}
	c := in.read(p.Tenant)
	c.Device = ident.DeviceID{ID: device}
	saved, err := a.Entities.Devices.UpdateCredentials(r.Context(), c)
	if err != nil {
		return nil, err
	}
	return credentialsView(saved), nil
}
