package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// deviceRoutes are those of rest-api §2.4 about one device.
func (a *api) deviceRoutes() []route {
	return []route{
		{"POST", "/api/device", tenantUsers(), a.saveDevice},
		{"POST", "/api/device-with-credentials", tenantUsers(), a.saveDeviceWithCredentials},
		{"GET", "/api/device/{deviceId}", tenantUsers(), a.device},
		{"GET", "/api/device/info/{deviceId}", tenantUsers(), a.deviceInfo},
		{"DELETE", "/api/device/{deviceId}", tenants(), a.deleteDevice},
		{"POST", "/api/customer/{customerId}/device/{deviceId}", tenants(), a.assignDevice},
		{"DELETE", "/api/customer/device/{deviceId}", tenants(), a.unassignDevice},
	}
}

// deviceBody is a device as JSON (rest-api §3.5).
type deviceBody struct {
	ID              ref             `json:"id"`
	CreatedTime     int64           `json:"createdTime"`
	AdditionalInfo  json.RawMessage `json:"additionalInfo"`
	TenantID        ref             `json:"tenantId"`
	CustomerID      ref             `json:"customerId"`
	Name            string          `json:"name"`
	Type            string          `json:"type"`
	Label           *string         `json:"label"`
	DeviceProfileID ref             `json:"deviceProfileId"`
	DeviceData      json.RawMessage `json:"deviceData"`
	FirmwareID      *ref            `json:"firmwareId"`
	SoftwareID      *ref            `json:"softwareId"`
	ExternalID      *ref            `json:"externalId"`
	Version         int64           `json:"version"`
}

type deviceInfoBody struct {
	deviceBody
	CustomerTitle     *string `json:"customerTitle"`
	CustomerIsPublic  bool    `json:"customerIsPublic"`
	DeviceProfileName string  `json:"deviceProfileName"`
	Active            bool    `json:"active"`
}

// plainDevice is the deviceData of a device nobody configured.
const plainDevice = `{"configuration":{"type":"DEFAULT"},"transportConfiguration":{"type":"DEFAULT"}}`

func deviceView(d entity.Device) deviceBody {
	data := d.Data
	if none(data) {
		data = json.RawMessage(plainDevice)
	}
	return deviceBody{
		ID: refOf(ident.Device, d.ID.ID), CreatedTime: d.CreatedTime, AdditionalInfo: objectView(d.AdditionalInfo),
		TenantID: refOf(ident.Tenant, d.Tenant.ID), CustomerID: refOf(ident.Customer, d.Customer.ID),
		Name: d.Name, Type: d.Type, Label: orNull(d.Label), DeviceProfileID: refOf(ident.DeviceProfile, d.Profile), DeviceData: data,
		FirmwareID: optional(ident.OTAPackage, d.Firmware), SoftwareID: optional(ident.OTAPackage, d.Software),
		ExternalID: optional(ident.Device, d.External), Version: d.Version,
	}
}

// deviceInput is what may be sent of a device; what else is sent is ignored.
type deviceInput struct {
	ID, CustomerID, DeviceProfileID    *given
	FirmwareID, SoftwareID, ExternalID *given
	Name                               string
	Type                               *string
	Label                              *string
	DeviceData                         json.RawMessage
	AdditionalInfo                     json.RawMessage
	Version                            *int64
}

func (in deviceInput) read(tenant ident.TenantID) (entity.Device, error) {
	d := entity.Device{Tenant: tenant, Name: in.Name, Type: orEmpty(in.Type), Label: orEmpty(in.Label), Version: orZero(in.Version)}
	var err error
	read := func(field string, g *given, kind ident.EntityType) (id ident.ID) {
		if err == nil {
			id, err = g.id(field, kind)
		}
		return id
	}
	d.ID.ID = read("id", in.ID, ident.Device)
	d.Customer.ID = read("customerId", in.CustomerID, ident.Customer)
	d.Profile = read("deviceProfileId", in.DeviceProfileID, ident.DeviceProfile)
	d.External = read("externalId", in.ExternalID, ident.Device)
	d.Firmware = read("firmwareId", in.FirmwareID, ident.OTAPackage)
	d.Software = read("softwareId", in.SoftwareID, ident.OTAPackage)
	if err != nil {
		return d, err
	}
	if d.AdditionalInfo, err = object("additionalInfo", in.AdditionalInfo); err != nil {
		return d, err
	}
	if d.Data, err = object("deviceData", in.DeviceData); err != nil {
		return d, err
	}
	if d.Data == nil {
		d.Data = json.RawMessage(plainDevice)
	}
	return d, checkTexts("name", d.Name, "type", d.Type, "label", d.Label)
}

func (a *api) saveDevice(r *http.Request, p auth.Principal) (any, error) {
	var in deviceInput
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	d, err := in.read(p.Tenant)
	if err != nil {
		return nil, err
	}
	var credentials *entity.Credentials
	if token := r.URL.Query().Get("accessToken"); token != "" {
		credentials = &entity.Credentials{Type: entity.AccessToken, CredentialsID: token}
	}
	saved, err := a.storeDevice(r, p, d, credentials)
	if err != nil {
		return nil, err
	}
	return deviceView(saved), nil
}

// storeDevice creates a device without an id, with the credentials or a token of its own, and
// updates one with an id, whose credentials stay.
func (a *api) storeDevice(r *http.Request, p auth.Principal, d entity.Device, c *entity.Credentials) (entity.Device, error) {
	if !d.ID.IsZero() {
		if _, err := a.Guard.Device(r.Context(), p, d.ID); err != nil {
			return entity.Device{}, err
		}
		return a.Entities.Devices.Update(r.Context(), d)
	}
	if !p.Is(entity.TenantAdmin) {
		return entity.Device{}, auth.Denied()
	}
	return uniquify(r, d.Name, func(name string) (bool, error) {
		_, err := a.Entities.Devices.ByName(r.Context(), p.Tenant, name)
		return exists(err)
	}, func(name string) (entity.Device, error) {
		d.Name = name
		return a.Entities.Devices.Create(r.Context(), d, c)
	})
}

func (a *api) saveDeviceWithCredentials(r *http.Request, p auth.Principal) (any, error) {
	var in struct {
		Device      deviceInput
		Credentials credentialsInput
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	d, err := in.Device.read(p.Tenant)
	if err != nil {
		return nil, err
	}
	if !d.ID.IsZero() && !p.Is(entity.TenantAdmin) {
		return nil, auth.Denied()
	}
	c := in.Credentials.read(p.Tenant)
	saved, err := a.storeDevice(r, p, d, &c)
	if err != nil {
		return nil, err
	}
	if !d.ID.IsZero() {
		c.Device = saved.ID
		if _, err := a.Entities.Devices.UpdateCredentials(r.Context(), c); err != nil {
			return nil, err
		}
	}
	return deviceView(saved), nil
}

// oneDevice returns the device of the path that p may see.
func (a *api) oneDevice(r *http.Request, p auth.Principal) (entity.Device, error) {
	id, err := pathID(r, "deviceId")
	if err != nil {
		return entity.Device{}, err
	}
	return a.Guard.Device(r.Context(), p, ident.DeviceID{ID: id})
}

func (a *api) device(r *http.Request, p auth.Principal) (any, error) {
	d, err := a.oneDevice(r, p)
	if err != nil {
		return nil, err
	}
	return deviceView(d), nil
}

func (a *api) deviceInfo(r *http.Request, p auth.Principal) (any, error) {
	d, err := a.oneDevice(r, p)
	if err != nil {
		return nil, err
	}
	return a.deviceInfoView(r.Context(), d)
}

func (a *api) deviceInfoView(ctx context.Context, d entity.Device) (deviceInfoBody, error) {
	info := deviceInfoBody{deviceBody: deviceView(d), DeviceProfileName: d.Type}
	if !d.Customer.IsZero() {
		c, err := a.Entities.Customers.Get(ctx, d.Tenant, d.Customer)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return info, err
		}
		info.CustomerTitle, info.CustomerIsPublic = orNull(c.Title), isPublic(c)
	}
	var err error
	info.Active, err = a.active(ctx, d.ID)
	return info, err
}

// active reads whether the device counts as connected (rest-api §6).
func (a *api) active(ctx context.Context, id ident.DeviceID) (bool, error) {
	found, err := a.Values.Attributes(ctx, id.Entity(), storage.Server, []string{"active"})
	if err != nil {
		return false, fmt.Errorf("read connectivity of device: %w", err)
	}
	return len(found) == 1 && found[0].Kind == telemetry.Bool && found[0].Bool(), nil
}

func (a *api) deleteDevice(r *http.Request, p auth.Principal) (any, error) {
	id, err := pathID(r, "deviceId")
	if err != nil {
		return nil, err
	}
	return nil, a.Entities.Devices.Delete(r.Context(), p.Tenant, ident.DeviceID{ID: id})
}

func (a *api) assignDevice(r *http.Request, p auth.Principal) (any, error) {
	c, err := a.oneCustomer(r, p)
	if err != nil {
		return nil, err
	}
	d, err := a.oneDevice(r, p)
	if err != nil {
		return nil, err
	}
	assigned, err := a.Entities.Devices.Assign(r.Context(), p.Tenant, d.ID, c.ID)
	if err != nil {
		return nil, err
	}
	return deviceView(assigned), nil
}

func (a *api) unassignDevice(r *http.Request, p auth.Principal) (any, error) {
	d, err := a.oneDevice(r, p)
	if err != nil {
		return nil, err
	}
	free, err := a.Entities.Devices.Unassign(r.Context(), p.Tenant, d.ID)
	if err != nil {
		return nil, err
	}
	return deviceView(free), nil
}
