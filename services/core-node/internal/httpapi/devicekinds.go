package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// deviceKindRoutes are those of rest-api §2.4 and §2.5 about which types and keys devices have, and the one that shows a device to everybody.
func (a *api) deviceKindRoutes() []route {
	return []route{
		{"GET", "/api/device/types", tenantUsers(), a.deviceTypes},
		{"POST", "/api/customer/public/device/{deviceId}", tenants(), a.assignDevicePublicly},
		{"GET", "/api/deviceProfile/devices/keys/timeseries", tenants(), a.profileSeriesKeys},
		{"GET", "/api/deviceProfile/devices/keys/attributes", tenants(), a.profileAttributeKeys},
	}
}

// deviceTypes are the names of the profiles that devices have.
func (a *api) deviceTypes(r *http.Request, p auth.Principal) (any, error) {
	names, err := a.deviceProfileNames(r.Context(), p.Tenant, true)
	if err != nil {
		return nil, err
	}
	return subtypes(p.Tenant, ident.Device, names), nil
}

// assignDevicePublicly assigns a device to the customer that stands for everybody.
func (a *api) assignDevicePublicly(r *http.Request, p auth.Principal) (any, error) {
	d, err := a.oneDevice(r, p)
	if err != nil {
		return nil, err
	}
	everybody, err := a.Entities.Customers.Public(r.Context(), p.Tenant)
	if err != nil {
		return nil, err
	}
	assigned, err := a.Entities.Devices.Assign(r.Context(), p.Tenant, d.ID, everybody.ID)
	if err != nil {
		return nil, err
	}
	return deviceView(assigned), nil
}

func (a *api) profileSeriesKeys(r *http.Request, p auth.Principal) (any, error) {
	return a.profileKeys(r, p, func(ctx context.Context, e ident.EntityID) ([]storage.Entry, error) {
		return a.Values.Latest(ctx, e, nil)
	})
}

func (a *api) profileAttributeKeys(r *http.Request, p auth.Principal) (any, error) {
	return a.profileKeys(r, p, func(ctx context.Context, e ident.EntityID) (all []storage.Entry, err error) {
		for _, scope := range []storage.Scope{storage.Client, storage.Shared, storage.Server} {
			found, scopeErr := a.Values.Attributes(ctx, e, scope, nil)
			all, err = append(all, found...), errors.Join(err, scopeErr)
		}
		return all, err
	})
}

// devicesLookedAt is how many devices of a profile are asked which keys they have.
const devicesLookedAt = 100

// profileKeys answers which keys devices have, those of a profile or all; a hundred devices stand for the others.
func (a *api) profileKeys(r *http.Request, p auth.Principal, read func(context.Context, ident.EntityID) ([]storage.Entry, error)) (any, error) {
	profile, err := queryID(r, "deviceProfileId")
	if err != nil {
		return nil, err
	}
	if !profile.IsZero() {
		if _, err := a.deviceProfiles().own(r, p, profile); err != nil {
			return nil, err
		}
	}
	asked := entity.PageRequest{Size: devicesLookedAt, Sort: "createdTime", Descending: true}
	found, err := a.Entities.Devices.List(r.Context(), p.Tenant, entity.DeviceFilter{Profile: profile}, asked)
	if err != nil {
		return nil, err
	}
	keys := []string{}
	for _, d := range found.Items {
		entries, err := read(r.Context(), d.ID.Entity())
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			keys = append(keys, e.Key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}
