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

// Contact is how to reach a tenant or customer. Empty means not given.
type Contact struct {
	Country, State, City, Address, Address2, Zip, Phone, Email string
}

// Tenant is one tenant of the platform.
type Tenant struct {
	ID             ident.TenantID
	Profile        ident.ID
	RootChain      ident.ID // zero: the one the tenant was made with
	Title          string
	Region         string
	Contact        Contact
	AdditionalInfo json.RawMessage
	CreatedTime    int64
	Version        int64
}

func (t *Tenant) row() row {
	return row{id: t.ID.ID, profile: t.Profile, created: t.CreatedTime, name: t.Title}
}
func (t *Tenant) setVersion(v int64) { t.Version = v }
func (t *Tenant) document() storage.Document {
	return storage.Document{ID: t.ID.Entity(), Version: t.Version, Claims: []string{idClaim(t.ID.Entity())}}
}

var tenantOrder = order{"id": byID, "createdTime": byCreated, "title": byName, "name": byName}

// TenantRegistry keeps the tenants. Who may call what is decided by the caller.
type TenantRegistry struct {
	all      *Registry
	tenants  repository[Tenant, *Tenant]
	profiles repository[TenantProfile, *TenantProfile]
}

// Create makes a tenant with its default profiles and root rule chain. A zero Profile
// means the default one. ID, times and version are set here.
func (r *TenantRegistry) Create(ctx context.Context, t Tenant) (Tenant, error) {
	if err := checkName("title", t.Title); err != nil {
		return Tenant{}, err
	}
	if err := r.checkProfile(ctx, &t); err != nil {
		return Tenant{}, err
	}
	t.ID, t.CreatedTime, t.Region = ident.TenantID{ID: ident.New()}, r.all.nowMillis(), "Global"
	// The tenant comes last: what a crash leaves behind before it belongs to nobody and is seen by nobody.
	if err := r.all.RuleChains.createRoot(ctx, t.ID); err != nil {
		return Tenant{}, fmt.Errorf("create root rule chain: %w", err)
	}
	if _, err := r.all.DeviceProfiles.createDefault(ctx, t.ID); err != nil {
		return Tenant{}, fmt.Errorf("create default device profile: %w", err)
	}
	if _, err := r.all.AssetProfiles.createDefault(ctx, t.ID); err != nil {
		return Tenant{}, fmt.Errorf("create default asset profile: %w", err)
	}
	return r.tenants.create(ctx, t)
}

func (r *TenantRegistry) checkProfile(ctx context.Context, t *Tenant) error {
	if t.Profile.IsZero() {
		p, err := r.DefaultProfile(ctx)
		if err != nil {
			return fmt.Errorf("find default tenant profile: %w", err)
		}
		t.Profile = p.ID
		return nil
	}
	if _, err := r.profiles.get(ctx, ident.TenantID{}, t.Profile); err != nil {
		if errors.Is(err, storage.ErrNotFound) {
			return fault.Wrap(fault.Invalid, "Tenant is referencing to non-existent tenant profile!", err)
		}
		return err
	}
	return nil
}

// Get returns a tenant.
func (r *TenantRegistry) Get(ctx context.Context, id ident.TenantID) (Tenant, error) {
	return r.tenants.get(ctx, ident.TenantID{}, id.ID)
}

// Update saves t over what is stored; Version 0 overwrites whatever is there.
func (r *TenantRegistry) Update(ctx context.Context, t Tenant) (Tenant, error) {
	if err := checkName("title", t.Title); err != nil {
		return Tenant{}, err
	}
	if err := r.checkProfile(ctx, &t); err != nil {
		return Tenant{}, err
	}
	moved := false
	updated, err := r.tenants.update(ctx, ident.TenantID{}, t.ID.ID, t.Version, func(stored *Tenant) error {
		moved = stored.Profile != t.Profile
		t.CreatedTime, t.Region, t.RootChain = stored.CreatedTime, stored.Region, stored.RootChain
		*stored = t
		return nil
	})
	if err != nil || !moved {
		return updated, err
	}
	p, err := r.Profile(ctx, updated.Profile)
	if err != nil {
		return updated, err
	}
	return updated, r.announceLimits(ctx, updated.ID, p)
}

// Delete removes a tenant and all it has: devices, assets, customers, users, packages, profiles and rule chains.
// The tenant itself goes last, so that a Delete that was cut off can be asked for again.
func (r *TenantRegistry) Delete(ctx context.Context, id ident.TenantID) error {
	if _, err := r.Get(ctx, id); err != nil {
		return err
	}
	if err := r.all.Users.deleteAll(ctx, id); err != nil {
		return fmt.Errorf("delete users: %w", err)
	}
	if err := r.all.Devices.deleteAll(ctx, id); err != nil {
		return fmt.Errorf("delete devices: %w", err)
	}
	if err := r.all.Assets.assets.deleteAll(ctx, id); err != nil {
		return fmt.Errorf("delete assets: %w", err)
	}
	if err := r.all.AssetProfiles.profiles.deleteAll(ctx, id); err != nil {
		return fmt.Errorf("delete asset profiles: %w", err)
	}
	if err := r.all.Customers.customers.deleteAll(ctx, id); err != nil {
		return fmt.Errorf("delete customers: %w", err)
	}
	if err := r.all.Packages.packages.deleteAll(ctx, id); err != nil {
		return fmt.Errorf("delete OTA packages: %w", err)
	}
	if err := r.all.DeviceProfiles.profiles.deleteAll(ctx, id); err != nil {
		return fmt.Errorf("delete device profiles: %w", err)
	}
	if err := r.all.RuleChains.chains.deleteAll(ctx, id); err != nil {
		return fmt.Errorf("delete rule chains: %w", err)
	}
	return r.tenants.delete(ctx, ident.TenantID{}, id.ID)
}

// List pages through all tenants; Search looks into titles.
func (r *TenantRegistry) List(ctx context.Context, page PageRequest) (Page[Tenant], error) {
	return r.tenants.list(ctx, ident.TenantID{}, nil, page, tenantOrder)
}

// TenantProfile is the limits a group of tenants has.
type TenantProfile struct {
	ID                 ident.ID
	Name               string
	Description        string
	IsDefault          bool
	IsolatedRuleEngine bool
	Data               json.RawMessage // the REST API's profileData
	CreatedTime        int64
	Version            int64
}

func (p *TenantProfile) row() row {
	return row{id: p.ID, created: p.CreatedTime, name: p.Name, label: p.Description}
}
func (p *TenantProfile) setVersion(v int64) { p.Version = v }
func (p *TenantProfile) document() storage.Document {
	claims := []string{"tenant-profile-name/" + p.Name}
	if p.IsDefault {
		claims = append(claims, defaultTenantProfile)
	}
	return storage.Document{ID: ident.EntityID{Type: ident.TenantProfile, ID: p.ID}, Version: p.Version, Claims: claims}
}

const defaultTenantProfile = "default-tenant-profile"

var tenantProfileOrder = order{"id": byID, "createdTime": byCreated, "name": byName, "description": byLabel}

// CreateProfile stores a tenant profile. The first one becomes the default.
func (r *TenantRegistry) CreateProfile(ctx context.Context, p TenantProfile) (TenantProfile, error) {
	if err := p.check(); err != nil {
		return TenantProfile{}, err
	}
	p.ID, p.CreatedTime = ident.New(), r.all.nowMillis()
	_, err := r.DefaultProfile(ctx)
	p.IsDefault = errors.Is(err, storage.ErrNotFound)
	created, err := r.profiles.create(ctx, p)
	return created, taken(err, "Tenant profile with such name already exists!")
}

// Profile returns a tenant profile.
func (r *TenantRegistry) Profile(ctx context.Context, id ident.ID) (TenantProfile, error) {
	return r.profiles.get(ctx, ident.TenantID{}, id)
}

func (r *TenantRegistry) defaults() defaults[TenantProfile, *TenantProfile] {
	claim := func(ident.TenantID) string { return defaultTenantProfile }
	return defaults[TenantProfile, *TenantProfile]{r.profiles, "tenant profile", claim, func(p *TenantProfile, is bool) { p.IsDefault = is }}
}

// DefaultProfile returns the profile of tenants that name none.
func (r *TenantRegistry) DefaultProfile(ctx context.Context) (TenantProfile, error) {
	return r.defaults().find(ctx, ident.TenantID{})
}

// SetDefaultProfile makes a profile the one of tenants that will name none, in place of the one that was. Tenants keep theirs.
func (r *TenantRegistry) SetDefaultProfile(ctx context.Context, id ident.ID) (TenantProfile, error) {
	if _, err := r.Profile(ctx, id); err != nil {
		return TenantProfile{}, err
	}
	old, err := r.DefaultProfile(ctx)
	if err != nil {
		return TenantProfile{}, err
	}
	return r.defaults().move(ctx, ident.TenantID{}, old, id)
}

// UpdateProfile saves p; Version 0 overwrites. Whether it is the default stays as it was.
func (r *TenantRegistry) UpdateProfile(ctx context.Context, p TenantProfile) (TenantProfile, error) {
	if err := p.check(); err != nil {
		return TenantProfile{}, err
	}
	updated, err := r.profiles.update(ctx, ident.TenantID{}, p.ID, p.Version, func(stored *TenantProfile) error {
		p.CreatedTime, p.IsDefault = stored.CreatedTime, stored.IsDefault
		*stored = p
		return nil
	})
	if err != nil {
		return TenantProfile{}, taken(err, "Tenant profile with such name already exists!")
	}
	return updated, r.announceProfile(ctx, updated)
}

// DeleteProfile removes a profile that is neither the default nor any tenant's.
func (r *TenantRegistry) DeleteProfile(ctx context.Context, id ident.ID) error {
	p, err := r.Profile(ctx, id)
	if err != nil {
		return err
	}
	if p.IsDefault {
		return fault.New(fault.Invalid, "Deletion of Default Tenant Profile is prohibited!")
	}
	holders, err := r.tenants.list(ctx, ident.TenantID{}, func(e row) bool { return e.profile == id }, PageRequest{Size: 1}, tenantOrder)
	if err != nil {
		return err
	}
	if holders.Total > 0 {
		return fault.New(fault.Invalid, "The tenant profile referenced by the tenants cannot be deleted!")
	}
	return r.profiles.delete(ctx, ident.TenantID{}, id)
}

// ListProfiles pages through the tenant profiles; Search looks into names.
func (r *TenantRegistry) ListProfiles(ctx context.Context, page PageRequest) (Page[TenantProfile], error) {
	return r.profiles.list(ctx, ident.TenantID{}, nil, page, tenantProfileOrder)
}
