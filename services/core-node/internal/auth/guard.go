package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Action is what somebody wants to do with an entity's values.
type Action uint8

// The actions: on telemetry and attributes alike.
const (
	ReadValues Action = iota
	WriteValues
)

// Guard decides who may touch what (rest-api §1.7). The tenant is always the principal's own:
// another tenant's device is not found, its other entities are denied.
type Guard struct {
	entities *entity.Registry
}

// NewGuard returns a Guard over entities.
func NewGuard(entities *entity.Registry) *Guard { return &Guard{entities} }

// Values decides about an entity's telemetry and attributes, and returns the tenant the entity belongs to.
func (g *Guard) Values(ctx context.Context, p Principal, e ident.EntityID, a Action) (ident.TenantID, error) {
	switch e.Type {
	case ident.Device:
		return p.Tenant, g.Reach(ctx, p, ident.DeviceID{ID: e.ID})
	case ident.Tenant:
		return g.tenantValues(ctx, p, e, a)
	case ident.TenantProfile:
		if !p.Is(entity.SysAdmin) {
			return ident.TenantID{}, Denied()
		}
		_, err := g.entities.Tenants.Profile(ctx, e.ID)
		return ident.TenantID{}, err
	case ident.Customer:
		if p.Is(entity.CustomerUser) && a == WriteValues {
			return ident.TenantID{}, Denied()
		}
		_, err := g.Customer(ctx, p, ident.CustomerID{ID: e.ID})
		return p.Tenant, err
	case ident.User:
		u, err := g.User(ctx, p, e.ID)
		if err == nil && p.Is(entity.CustomerUser) && a == WriteValues && u.ID != p.User {
			err = Denied()
		}
		return u.Tenant, err
	case ident.DeviceProfile, ident.AssetProfile:
		return p.Tenant, g.profileValues(ctx, p, e, a)
	case ident.Asset:
		_, err := g.Asset(ctx, p, e.ID)
		return p.Tenant, err
	case ident.RuleChain:
		return p.Tenant, g.chainValues(ctx, p, e)
	}
	if !p.Is(entity.TenantAdmin, entity.CustomerUser) {
		return ident.TenantID{}, Denied()
	}
	return ident.TenantID{}, fault.Wrap(fault.NotFound, fmt.Sprintf("%v is not found", e), storage.ErrNotFound)
}

// tenantValues: administrators of the system touch any tenant, a tenant's own read theirs.
func (g *Guard) tenantValues(ctx context.Context, p Principal, e ident.EntityID, a Action) (ident.TenantID, error) {
	tenant := ident.TenantID{ID: e.ID}
	if p.Is(entity.SysAdmin) || p.Is(entity.TenantAdmin) && tenant == p.Tenant && a == ReadValues {
		_, err := g.entities.Tenants.Get(ctx, tenant)
		return tenant, err
	}
	return ident.TenantID{}, Denied()
}

func (g *Guard) profileValues(ctx context.Context, p Principal, e ident.EntityID, a Action) error {
	if !p.Is(entity.TenantAdmin) && (!p.Is(entity.CustomerUser) || a == WriteValues) {
		return Denied()
	}
	var err error
	if e.Type == ident.AssetProfile {
		_, err = g.entities.AssetProfiles.Get(ctx, p.Tenant, e.ID)
	} else {
		_, err = g.entities.DeviceProfiles.Get(ctx, p.Tenant, e.ID)
	}
	return g.Foreign(ctx, e, err)
}

func (g *Guard) chainValues(ctx context.Context, p Principal, e ident.EntityID) error {
	if !p.Is(entity.TenantAdmin) {
		return Denied()
	}
	_, err := g.entities.RuleChains.Chain(ctx, p.Tenant, e.ID)
	return g.Foreign(ctx, e, err)
}

// Device returns a device p may read: one of the tenant's, and for a customer's user one of that customer's.
func (g *Guard) Device(ctx context.Context, p Principal, id ident.DeviceID) (entity.Device, error) {
	if !p.Is(entity.TenantAdmin, entity.CustomerUser) {
		return entity.Device{}, Denied()
	}
	d, err := g.entities.Devices.Device(ctx, p.Tenant, id)
	if err == nil && p.Is(entity.CustomerUser) && d.Customer != p.Customer {
		return entity.Device{}, Denied()
	}
	return d, err
}

// Reach decides about a device as Device does, for those who want nothing to be read of it.
func (g *Guard) Reach(ctx context.Context, p Principal, id ident.DeviceID) error {
	if p.Is(entity.TenantAdmin) {
		return g.entities.Devices.Exists(ctx, p.Tenant, id)
	}
	_, err := g.Device(ctx, p, id)
	return err
}

// Asset returns an asset p may read: one of the tenant's, and for a customer's user one of that customer's.
func (g *Guard) Asset(ctx context.Context, p Principal, id ident.ID) (entity.Asset, error) {
	if !p.Is(entity.TenantAdmin, entity.CustomerUser) {
		return entity.Asset{}, Denied()
	}
	a, err := g.entities.Assets.Get(ctx, p.Tenant, id)
	if err == nil && p.Is(entity.CustomerUser) && a.Customer != p.Customer {
		return entity.Asset{}, Denied()
	}
	return a, g.Foreign(ctx, ident.EntityID{Type: ident.Asset, ID: id}, err)
}

// Thing decides about an entity as the end of relations or the originator of alarms: as Values does, but a tenant's administrator may
// use the own tenant.
func (g *Guard) Thing(ctx context.Context, p Principal, e ident.EntityID, a Action) error {
	if p.Is(entity.TenantAdmin) && e == p.Tenant.Entity() {
		return nil
	}
	_, err := g.Values(ctx, p, e, a)
	return err
}

// Customer returns a customer p may read: one of the tenant's, or a customer's user's own.
func (g *Guard) Customer(ctx context.Context, p Principal, id ident.CustomerID) (entity.Customer, error) {
	if !p.Is(entity.TenantAdmin) && (!p.Is(entity.CustomerUser) || id != p.Customer) {
		return entity.Customer{}, Denied()
	}
	c, err := g.entities.Customers.Get(ctx, p.Tenant, id)
	return c, g.Foreign(ctx, id.Entity(), err)
}

// User returns a user p may read: anyone but customers' users for a system administrator, those
// of the tenant for its administrators, those of the same customer for a customer's user.
func (g *Guard) User(ctx context.Context, p Principal, id ident.ID) (entity.User, error) {
	e := ident.EntityID{Type: ident.User, ID: id}
	tenant := p.Tenant
	if p.Is(entity.SysAdmin) {
		var err error
		if tenant, err = g.entities.TenantOf(ctx, e); err != nil {
			return entity.User{}, err
		}
	}
	u, err := g.entities.Users.Get(ctx, tenant, id)
	if err != nil {
		return entity.User{}, g.Foreign(ctx, e, err)
	}
	switch {
	case p.Is(entity.SysAdmin) && u.Authority == entity.CustomerUser,
		p.Is(entity.CustomerUser) && u.Customer != p.Customer:
		return entity.User{}, Denied()
	}
	return u, nil
}

// Foreign turns err, "not found" within p's tenant, into "denied" when the entity is another tenant's.
func (g *Guard) Foreign(ctx context.Context, e ident.EntityID, err error) error {
	if !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	if _, lookup := g.entities.TenantOf(ctx, e); lookup == nil {
		return Denied()
	}
	return err
}
