package httpapi

import (
	"errors"
	"net/http"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/claim"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// claimRoutes are those of rest-api §2.4 by which customers take devices over.
func (a *api) claimRoutes() []route {
	return []route{
		{"POST", "/api/customer/device/{deviceName}/claim", []entity.Authority{entity.CustomerUser}, a.claimDevice},
		{"DELETE", "/api/customer/device/{deviceName}/claim", tenantUsers(), a.reclaimDevice},
	}
}

// claimBody is what a claim that succeeded is answered.
type claimBody struct {
	Device   deviceBody `json:"device"`
	Response string     `json:"response"`
}

// Answers to a claim that did not.
const (
	claimFailed = "FAILURE"
	claimTaken  = "CLAIMED"
)

// claimDevice gives a device to the customer of who knows its secret.
func (a *api) claimDevice(r *http.Request, p auth.Principal) (any, error) {
	var in struct{ SecretKey *string }
	if r.ContentLength != 0 {
		if err := decode(r, &in); err != nil {
			return nil, err
		}
	}
	d, err := a.deviceOfPath(r, p)
	if err != nil {
		return nil, err
	}
	if !d.Customer.IsZero() {
		return refused{claimTaken}, nil
	}
	claimed := d
	err = a.Claims.Claim(r.Context(), p.Tenant, d.ID, orEmpty(in.SecretKey), func() (err error) {
		claimed, err = a.Entities.Devices.Claim(r.Context(), p.Tenant, d.ID, p.Customer)
		return err
	})
	switch {
	case errors.Is(err, entity.ErrClaimed):
		return refused{claimTaken}, nil
	case errors.Is(err, claim.ErrNone):
		return refused{claimFailed}, nil
	case err != nil:
		return nil, err
	}
	if !a.Claims.ByDefault() {
		if err := a.Writer.DeleteAttributes(r.Context(), p.Tenant, d.ID.Entity(), storage.Server, []string{claim.Attribute}); err != nil {
			return nil, err
		}
	}
	return claimBody{deviceView(claimed), "SUCCESS"}, nil
}

// reclaimDevice takes a device from its customer, so that it may be claimed again.
func (a *api) reclaimDevice(r *http.Request, p auth.Principal) (any, error) {
	d, err := a.deviceOfPath(r, p)
	if err != nil {
		return nil, err
	}
	if d, err = a.Guard.Device(r.Context(), p, d.ID); err != nil {
		return nil, err
	}
	if d.Customer.IsZero() {
		return nil, nil
	}
	if _, err := a.Entities.Devices.Unassign(r.Context(), p.Tenant, d.ID); err != nil {
		return nil, err
	}
	if a.Claims.ByDefault() {
		return nil, nil
	}
	again := []telemetry.KeyValue{{Key: claim.Attribute, Value: telemetry.OfBool(true)}}
	return nil, a.Writer.SaveAttributes(r.Context(), p.Tenant, d.ID.Entity(), storage.Server, again)
}

// deviceOfPath finds the tenant's device of the name in the path.
func (a *api) deviceOfPath(r *http.Request, p auth.Principal) (entity.Device, error) {
	name, err := pathText(r, "deviceName")
	if err != nil {
		return entity.Device{}, err
	}
	return a.Entities.Devices.ByName(r.Context(), p.Tenant, name)
}
