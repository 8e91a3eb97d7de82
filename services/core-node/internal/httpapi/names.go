package httpapi

import (
	"context"
	"errors"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// names looks up what entities are called, each once.
type names struct {
	api    *api
	tenant ident.TenantID
	known  map[ident.EntityID][2]string
}

func (a *api) names(tenant ident.TenantID) *names {
	return &names{a, tenant, map[ident.EntityID][2]string{}}
}

// of returns an entity's name and label; both are "" when there is no such entity, or of a kind without names.
func (n *names) of(ctx context.Context, e ident.EntityID) (name, label string, err error) {
	known, ok := n.known[e]
	if !ok {
		known[0], known[1], err = n.api.lookUp(ctx, n.tenant, e)
		if errors.Is(err, storage.ErrNotFound) {
			err = nil
		}
		if err != nil {
			return "", "", err
		}
		n.known[e] = known
	}
	return known[0], known[1], nil
}

func (a *api) lookUp(ctx context.Context, tenant ident.TenantID, e ident.EntityID) (name, label string, err error) {
	switch e.Type {
	case ident.Device:
		d, err := a.Entities.Devices.Device(ctx, tenant, ident.DeviceID{ID: e.ID})
		return d.Name, d.Label, err
	case ident.Asset:
		x, err := a.Entities.Assets.Get(ctx, tenant, e.ID)
		return x.Name, x.Label, err
	case ident.Customer:
		c, err := a.Entities.Customers.Get(ctx, tenant, ident.CustomerID{ID: e.ID})
		return c.Title, "", err
	case ident.User:
		u, err := a.Entities.Users.Get(ctx, tenant, e.ID)
		return u.Email, "", err
	case ident.Tenant:
		t, err := a.Entities.Tenants.Get(ctx, ident.TenantID{ID: e.ID})
		return t.Title, "", err
	case ident.DeviceProfile:
		x, err := a.Entities.DeviceProfiles.Get(ctx, tenant, e.ID)
		return x.Name, "", err
	case ident.AssetProfile:
		x, err := a.Entities.AssetProfiles.Get(ctx, tenant, e.ID)
		return x.Name, "", err
	case ident.RuleChain:
		c, err := a.Entities.RuleChains.Chain(ctx, tenant, e.ID)
		return c.Name, "", err
	}
	return "", "", nil
}
