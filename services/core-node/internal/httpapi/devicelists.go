package httpapi

import (
	"fmt"
	"net/http"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// deviceListRoutes are those of rest-api §2.4 that find devices.
func (a *api) deviceListRoutes() []route {
	return []route{
		{"GET", "/api/tenant/devices", tenants(), a.listTenantDevices},
		{"GET", "/api/tenant/device", tenants(), a.deviceByName},
		{"GET", "/api/tenant/deviceInfos", tenants(), a.listTenantDeviceInfos},
		{"GET", "/api/customer/{customerId}/devices", tenantUsers(), a.listCustomerDevices},
		{"GET", "/api/customer/{customerId}/deviceInfos", tenantUsers(), a.listCustomerDeviceInfos},
		{"GET", "/api/devices", tenantUsers(), a.devicesByID},
		{"GET", "/api/devices/list", tenantUsers(), a.devicesByID},
	}
}

func (a *api) deviceByName(r *http.Request, p auth.Principal) (any, error) {
	name := r.URL.Query().Get("deviceName")
	if name == "" {
		return nil, invalid("deviceName", "is required")
	}
	d, err := a.Entities.Devices.ByName(r.Context(), p.Tenant, name)
	if err != nil {
		return nil, err
	}
	return deviceView(d), nil
}

func (a *api) devicesByID(r *http.Request, p auth.Principal) (any, error) {
	return listByID(r, "deviceIds", deviceView, func(id ident.ID) (entity.Device, error) {
		return a.Guard.Device(r.Context(), p, ident.DeviceID{ID: id})
	})
}

func (a *api) listTenantDevices(r *http.Request, p auth.Principal) (any, error) {
	if r.URL.Query().Has("deviceName") {
		return a.deviceByName(r, p)
	}
	return a.listDevices(r, p, ident.CustomerID{})
}

func (a *api) listTenantDeviceInfos(r *http.Request, p auth.Principal) (any, error) {
	return a.listDeviceInfos(r, p, ident.CustomerID{})
}

func (a *api) listCustomerDevices(r *http.Request, p auth.Principal) (any, error) {
	c, err := a.oneCustomer(r, p)
	if err != nil {
		return nil, err
	}
	return a.listDevices(r, p, c.ID)
}

func (a *api) listCustomerDeviceInfos(r *http.Request, p auth.Principal) (any, error) {
	c, err := a.oneCustomer(r, p)
	if err != nil {
		return nil, err
	}
	return a.listDeviceInfos(r, p, c.ID)
}

func (a *api) listDevices(r *http.Request, p auth.Principal, customer ident.CustomerID) (any, error) {
	asked, found, err := a.devicePage(r, p, entity.DeviceFilter{Type: r.URL.Query().Get("type"), Customer: customer})
	if err != nil {
		return nil, err
	}
	return paged(found, asked, deviceView), nil
}

func (a *api) listDeviceInfos(r *http.Request, p auth.Principal, customer ident.CustomerID) (any, error) {
	f := entity.DeviceFilter{Type: r.URL.Query().Get("type"), Customer: customer}
	var err error
	if f.Profile, err = queryID(r, "deviceProfileId"); err != nil {
		return nil, err
	}
	var unread error
	if r.URL.Query().Get("active") != "" {
		wanted, err := flagOr(r, "active", true)
		if err != nil {
			return nil, err
		}
		f.Match = func(id ident.DeviceID) bool {
			is, err := a.active(r.Context(), id)
			if err != nil {
				unread = err
			}
			return is == wanted
		}
	}
	asked, found, err := a.devicePage(r, p, f)
	if err == nil {
		err = unread
	}
	if err != nil {
		return nil, err
	}
	infos := entity.Page[deviceInfoBody]{Total: found.Total}
	for _, d := range found.Items {
		info, err := a.deviceInfoView(r.Context(), d)
		if err != nil {
			return nil, err
		}
		infos.Items = append(infos.Items, info)
	}
	return paged(infos, asked, same), nil
}

func (a *api) devicePage(r *http.Request, p auth.Principal, f entity.DeviceFilter) (entity.PageRequest, entity.Page[entity.Device], error) {
	asked, err := a.pageRequest(r)
	if err != nil {
		return asked, entity.Page[entity.Device]{}, err
	}
	found, err := a.Entities.Devices.List(r.Context(), p.Tenant, f, asked)
	if err != nil {
		return asked, found, fmt.Errorf("list devices: %w", err)
	}
	return asked, found, nil
}
