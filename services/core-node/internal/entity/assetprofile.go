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

// AssetProfile is what assets of one type have in common.
type AssetProfile struct {
	ID               ident.ID
	Tenant           ident.TenantID
	Name             string
	Description      string
	DefaultRuleChain ident.ID
	DefaultQueue     string
	IsDefault        bool
	Body             json.RawMessage // the other fields the REST API shows, such as image, as one object; or none
	CreatedTime      int64
	Version          int64
}

const assetProfileTaken = "Asset profile with such name already exists!"

func (p *AssetProfile) row() row           { return row{id: p.ID, created: p.CreatedTime, name: p.Name} }
func (p *AssetProfile) setVersion(v int64) { p.Version = v }
func (p *AssetProfile) entity() ident.EntityID {
	return ident.EntityID{Type: ident.AssetProfile, ID: p.ID}
}

func (p *AssetProfile) document() storage.Document {
	claims := []string{idClaim(p.entity()), assetProfileClaim(p.Tenant, p.Name)}
	if p.IsDefault {
		claims = append(claims, defaultAssetProfileClaim(p.Tenant))
	}
	return storage.Document{Tenant: p.Tenant, ID: p.entity(), Version: p.Version, Claims: claims}
}

func assetProfileClaim(tenant ident.TenantID, name string) string {
	return "asset-profile-name/" + tenant.String() + "/" + name
}

func defaultAssetProfileClaim(tenant ident.TenantID) string {
	return "default-asset-profile/" + tenant.String()
}

var assetProfileOrder = order{"id": byID, "createdTime": byCreated, "name": byName}

// AssetProfileRegistry keeps the tenants' asset profiles.
type AssetProfileRegistry struct {
	all      *Registry
	profiles repository[AssetProfile, *AssetProfile]
}

// Create stores a profile under a name new to the tenant. IsDefault is left out: SetDefault moves it.
func (r *AssetProfileRegistry) Create(ctx context.Context, p AssetProfile) (AssetProfile, error) {
	p.IsDefault = false
	return r.create(ctx, p)
}

func (r *AssetProfileRegistry) create(ctx context.Context, p AssetProfile) (AssetProfile, error) {
	if err := checkName("name", p.Name); err != nil {
		return AssetProfile{}, err
	}
	p.ID, p.CreatedTime = ident.New(), r.all.nowMillis()
	created, err := r.profiles.create(ctx, p)
	return created, taken(err, assetProfileTaken)
}

// Get returns a tenant's profile.
func (r *AssetProfileRegistry) Get(ctx context.Context, tenant ident.TenantID, id ident.ID) (AssetProfile, error) {
	return r.profiles.get(ctx, tenant, id)
}

// ByName finds a profile by its exact name.
func (r *AssetProfileRegistry) ByName(ctx context.Context, tenant ident.TenantID, name string) (AssetProfile, error) {
	return r.profiles.byClaim(ctx, assetProfileClaim(tenant, name))
}

func (r *AssetProfileRegistry) defaults() defaults[AssetProfile, *AssetProfile] {
	return defaults[AssetProfile, *AssetProfile]{r.profiles, "asset profile", defaultAssetProfileClaim, func(p *AssetProfile, is bool) { p.IsDefault = is }}
}

// Default returns the profile of assets that name none. A tenant older than asset profiles gets one.
func (r *AssetProfileRegistry) Default(ctx context.Context, tenant ident.TenantID) (AssetProfile, error) {
	p, err := r.defaults().find(ctx, tenant)
	if !errors.Is(err, storage.ErrNotFound) {
		return p, err
	}
	p, err = r.createDefault(ctx, tenant)
	if errors.Is(err, storage.ErrTaken) {
		return r.defaults().find(ctx, tenant) // somebody else was faster
	}
	return p, err
}

func (r *AssetProfileRegistry) createDefault(ctx context.Context, tenant ident.TenantID) (AssetProfile, error) {
	return r.create(ctx, AssetProfile{Tenant: tenant, Name: defaultProfileName, IsDefault: true})
}

// SetDefault makes a profile the default one in place of the one that was.
func (r *AssetProfileRegistry) SetDefault(ctx context.Context, tenant ident.TenantID, id ident.ID) (AssetProfile, error) {
	if _, err := r.Get(ctx, tenant, id); err != nil {
		return AssetProfile{}, err
	}
	old, err := r.Default(ctx, tenant)
	if err != nil {
		return AssetProfile{}, err
	}
	return r.defaults().move(ctx, tenant, old, id)
}

// findOrCreate returns the profile called name, making it when there is none; "" is the default.
func (r *AssetProfileRegistry) findOrCreate(ctx context.Context, tenant ident.TenantID, name string) (AssetProfile, error) {
	if name == "" {
		return r.Default(ctx, tenant)
	}
	p, err := r.ByName(ctx, tenant, name)
	if !errors.Is(err, storage.ErrNotFound) {
		return p, err
	}
	p, err = r.Create(ctx, AssetProfile{Tenant: tenant, Name: name})
	if errors.Is(err, storage.ErrTaken) {
		return r.ByName(ctx, tenant, name) // somebody else was faster
	}
	return p, err
}

// Update saves p; Version 0 overwrites. IsDefault stays as it was. The type of its assets follows its name.
func (r *AssetProfileRegistry) Update(ctx context.Context, p AssetProfile) (AssetProfile, error) {
	if err := checkName("name", p.Name); err != nil {
		return AssetProfile{}, err
	}
	renamed := false
	updated, err := r.profiles.update(ctx, p.Tenant, p.ID, p.Version, func(stored *AssetProfile) error {
		renamed = stored.Name != p.Name
		p.CreatedTime, p.IsDefault = stored.CreatedTime, stored.IsDefault
		*stored = p
		return nil
	})
	if err != nil {
		return AssetProfile{}, taken(err, assetProfileTaken)
	}
	if renamed {
		if err := r.all.Assets.renameType(ctx, updated); err != nil {
			return AssetProfile{}, fmt.Errorf("rename the type of the profile's assets: %w", err)
		}
	}
	return updated, nil
}

// Delete removes a profile that is neither the default nor any asset's.
func (r *AssetProfileRegistry) Delete(ctx context.Context, tenant ident.TenantID, id ident.ID) error {
	p, err := r.Get(ctx, tenant, id)
	if err != nil {
		return err
	}
	if p.IsDefault {
		return fault.New(fault.Invalid, "Deletion of Default Asset Profile is prohibited!")
	}
	holders, err := r.all.Assets.List(ctx, tenant, AssetFilter{Profile: id}, PageRequest{Size: 1})
	if err != nil {
		return err
	}
	if holders.Total > 0 {
		return fault.New(fault.Invalid, "The asset profile referenced by the assets cannot be deleted!")
	}
	return r.profiles.delete(ctx, tenant, id)
}

// List pages through a tenant's profiles; Search looks into names.
func (r *AssetProfileRegistry) List(ctx context.Context, tenant ident.TenantID, page PageRequest) (Page[AssetProfile], error) {
	return r.profiles.list(ctx, tenant, nil, page, assetProfileOrder)
}
