package entity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Asset is a thing that measures nothing by itself: a building, a room, a vehicle.
type Asset struct {
	ID             ident.ID
	Tenant         ident.TenantID
	Customer       ident.CustomerID
	Profile        ident.ID
	Name           string
	Type           string // the profile's name
	Label          string
	AdditionalInfo json.RawMessage
	External       ident.ID
	CreatedTime    int64 // ms
	Version        int64 // 1 after create, +1 per save
}

// Entity returns the asset's id as that of an entity.
func (a Asset) Entity() ident.EntityID { return ident.EntityID{Type: ident.Asset, ID: a.ID} }

func (a *Asset) row() row {
	return row{id: a.ID, customer: a.Customer.ID, profile: a.Profile, created: a.CreatedTime, name: a.Name, label: a.Label, kind: a.Type}
}
func (a *Asset) setVersion(v int64) { a.Version = v }
func (a *Asset) document() storage.Document {
	return storage.Document{
		Tenant: a.Tenant, ID: a.Entity(), Version: a.Version,
		Claims: []string{idClaim(a.Entity()), assetClaim(a.Tenant, a.Name)},
	}
}

func assetClaim(tenant ident.TenantID, name string) string {
	return "asset-name/" + tenant.String() + "/" + name
}

const assetTaken = "Asset with such name already exists!"

var assetOrder = order{"id": byID, "createdTime": byCreated, "name": byName, "label": byLabel, "type": byKind, "assetProfileName": byKind}

// AssetRegistry keeps the tenants' assets.
type AssetRegistry struct {
	all    *Registry
	assets repository[Asset, *Asset]
}

// Create stores an asset under a name new to the tenant. A zero Profile is found, or made, by the asset's Type, and
// without one the default profile is taken; Type becomes the profile's name.
func (r *AssetRegistry) Create(ctx context.Context, a Asset) (Asset, error) {
	if err := r.check(ctx, &a); err != nil {
		return Asset{}, err
	}
	admitted, err := r.all.limits.admit(ctx, a.Tenant, ident.Asset)
	if err != nil {
		return Asset{}, err
	}
	defer admitted()
	a.ID, a.CreatedTime = ident.New(), r.all.nowMillis()
	created, err := r.assets.create(ctx, a)
	if err != nil {
		return Asset{}, taken(err, assetTaken)
	}
	return created, r.all.tell(ctx, EntityCreated, created)
}

// check validates what a tenant set and completes profile and type.
func (r *AssetRegistry) check(ctx context.Context, a *Asset) error {
	if err := checkName("Asset name", a.Name); err != nil {
		return err
	}
	if len([]rune(a.Label)) > maxName {
		return fault.New(fault.Invalid, "label length must be equal or less than 255")
	}
	if !a.Customer.IsZero() {
		if _, err := r.all.Customers.Get(ctx, a.Tenant, a.Customer); errors.Is(err, storage.ErrNotFound) {
			return fault.Wrap(fault.Invalid, "Can't assign asset to non-existent customer!", err)
		} else if err != nil {
			return err
		}
	}
	profile, err := r.profileOf(ctx, *a)
	if err != nil {
		return err
	}
	a.Profile, a.Type = profile.ID, profile.Name
	return nil
}

func (r *AssetRegistry) profileOf(ctx context.Context, a Asset) (AssetProfile, error) {
	if a.Profile.IsZero() {
		return r.all.AssetProfiles.findOrCreate(ctx, a.Tenant, a.Type)
	}
	p, err := r.all.AssetProfiles.Get(ctx, a.Tenant, a.Profile)
	if errors.Is(err, storage.ErrNotFound) {
		return p, fault.Wrap(fault.Invalid, "Asset is referencing to non-existent asset profile!", err)
	}
	return p, err
}

// Get returns a tenant's asset.
func (r *AssetRegistry) Get(ctx context.Context, tenant ident.TenantID, id ident.ID) (Asset, error) {
	return r.assets.get(ctx, tenant, id)
}

// ByName finds an asset by its exact name.
func (r *AssetRegistry) ByName(ctx context.Context, tenant ident.TenantID, name string) (Asset, error) {
	return r.assets.byClaim(ctx, assetClaim(tenant, name))
}

// Update saves a over what is stored; Version 0 overwrites. A zero Profile is completed as by Create. The customer
// stays as it was: Assign and Unassign change it.
func (r *AssetRegistry) Update(ctx context.Context, a Asset) (Asset, error) {
	current, err := r.Get(ctx, a.Tenant, a.ID)
	if err != nil {
		return Asset{}, err
	}
	a.Customer = current.Customer
	if err := r.check(ctx, &a); err != nil {
		return Asset{}, err
	}
	updated, err := r.assets.update(ctx, a.Tenant, a.ID, a.Version, func(stored *Asset) error {
		a.Customer, a.CreatedTime = stored.Customer, stored.CreatedTime
		*stored = a
		return nil
	})
	if err != nil {
		return Asset{}, taken(err, assetTaken)
	}
	return updated, r.all.tell(ctx, EntityUpdated, updated)
}

// Assign gives an asset to one of the tenant's customers.
func (r *AssetRegistry) Assign(ctx context.Context, tenant ident.TenantID, id ident.ID, customer ident.CustomerID) (Asset, error) {
	if _, err := r.all.Customers.Get(ctx, tenant, customer); err != nil {
		return Asset{}, err
	}
	changed := false
	a, err := r.assets.update(ctx, tenant, id, 0, func(a *Asset) error {
		if changed = a.Customer != customer; !changed {
			return errUnchanged
		}
		a.Customer = customer
		return nil
	})
	if err != nil || !changed {
		return a, err
	}
	return a, r.all.tellOfCustomer(ctx, EntityAssigned, a, tenant, customer)
}

// Unassign takes an asset from its customer; fault.Invalid when it has none.
func (r *AssetRegistry) Unassign(ctx context.Context, tenant ident.TenantID, id ident.ID) (Asset, error) {
	var had ident.CustomerID
	a, err := r.assets.update(ctx, tenant, id, 0, func(a *Asset) error {
		if had = a.Customer; had.IsZero() {
			return fault.New(fault.Invalid, "Asset isn't assigned to any customer!")
		}
		a.Customer = ident.CustomerID{}
		return nil
	})
	if err != nil {
		return Asset{}, err
	}
	return a, r.all.tellOfCustomer(ctx, EntityUnassigned, a, tenant, had)
}

// Delete removes an asset and its values.
func (r *AssetRegistry) Delete(ctx context.Context, tenant ident.TenantID, id ident.ID) error {
	a, err := r.Get(ctx, tenant, id)
	if err != nil {
		return err
	}
	if err := r.assets.delete(ctx, tenant, id); err != nil {
		return err
	}
	return r.all.tell(ctx, EntityDeleted, a)
}

func (r *AssetRegistry) unassignAll(ctx context.Context, tenant ident.TenantID, customer ident.CustomerID) error {
	return r.eachThat(ctx, tenant, func(a *Asset) bool { return a.Customer == customer }, func(a *Asset) { a.Customer = ident.CustomerID{} })
}

// renameType follows a profile's new name, which is the type of its assets.
func (r *AssetRegistry) renameType(ctx context.Context, p AssetProfile) error {
	return r.eachThat(ctx, p.Tenant, func(a *Asset) bool { return a.Profile == p.ID && a.Type != p.Name }, func(a *Asset) { a.Type = p.Name })
}

// eachThat changes every asset that is as wanted.
func (r *AssetRegistry) eachThat(ctx context.Context, tenant ident.TenantID, wanted func(*Asset) bool, change func(*Asset)) error {
	return r.assets.each(ctx, tenant, func(a Asset) error {
		if !wanted(&a) {
			return nil
		}
		_, err := r.assets.update(ctx, tenant, a.ID, 0, func(a *Asset) error {
			if !wanted(a) {
				return errUnchanged
			}
			change(a)
			return nil
		})
		return ignoreMissing(err)
	})
}

// AssetFilter narrows a list of assets; zero fields do not.
type AssetFilter struct {
	Type     string
	Profile  ident.ID
	Customer ident.CustomerID
}

func (f AssetFilter) keep(e row) bool {
	return (f.Type == "" || e.kind == f.Type) && (f.Profile.IsZero() || e.profile == f.Profile) &&
		(f.Customer.IsZero() || e.customer == f.Customer.ID)
}

// List pages through a tenant's assets; Search looks into names, labels and types.
func (r *AssetRegistry) List(ctx context.Context, tenant ident.TenantID, f AssetFilter, page PageRequest) (Page[Asset], error) {
	found, err := r.assets.list(ctx, tenant, f.keep, page, assetOrder)
	if err != nil {
		return Page[Asset]{}, fmt.Errorf("list assets: %w", err)
	}
	return found, nil
}
