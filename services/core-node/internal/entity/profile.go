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

const (
	defaultProfileName = "default"
	profileTaken       = "Device profile with such name already exists!"
	provisionKeyTaken  = "Device profile with such provision device key already exists!"
)

// defaultProfileBody is what a profile made here shows of itself (rest-api §3.5, DeviceProfile).
const defaultProfileBody = `{"description":null,"image":null,"type":"DEFAULT","provisionType":"DISABLED","defaultDashboardId":null,` +
	`"profileData":{"configuration":{"type":"DEFAULT"},"transportConfiguration":{"type":"DEFAULT"},` +
	`"provisionConfiguration":{"type":"DISABLED","provisionDeviceSecret":null},"alarms":null},` +
	`"provisionDeviceKey":null,"firmwareId":null,"softwareId":null,"defaultEdgeRuleChainId":null,"externalId":null}`

func (p *Profile) row() row {
	return row{id: p.ID, created: p.CreatedTime, name: p.Name, kind: p.TransportType}
}
func (p *Profile) setVersion(v int64) { p.Version = v }
func (p *Profile) document() storage.Document {
	id := ident.EntityID{Type: ident.DeviceProfile, ID: p.ID}
	claims := []string{idClaim(id), profileClaim(p.Tenant, p.Name)}
	if p.IsDefault {
		claims = append(claims, defaultProfileClaim(p.Tenant))
	}
	if key := p.provisionKey(); key != "" {
		claims = append(claims, provisionClaim(key))
	}
	return storage.Document{Tenant: p.Tenant, ID: id, Version: p.Version, Claims: claims}
}

// provisionKey is the one field of Body that is unique over all tenants.
func (p *Profile) provisionKey() string {
	c, err := p.Provisioning()
	if err != nil {
		return "" // checked before it was stored
	}
	return c.Key
}

func profileClaim(tenant ident.TenantID, name string) string {
	return "device-profile-name/" + tenant.String() + "/" + name
}

func defaultProfileClaim(tenant ident.TenantID) string {
	return "default-device-profile/" + tenant.String()
}

var profileOrder = order{"id": byID, "createdTime": byCreated, "name": byName, "transportType": byKind}

// DeviceProfileRegistry keeps the tenants' device profiles.
type DeviceProfileRegistry struct {
	all      *Registry
	profiles repository[Profile, *Profile]
}

// checkProfile validates what a tenant set, and completes it.
func checkProfile(p *Profile) error {
	if err := checkName("name", p.Name); err != nil {
		return err
	}
	switch p.TransportType {
	case "":
		p.TransportType = "DEFAULT"
	case "DEFAULT", "MQTT", "COAP":
	default:
		return fault.New(fault.Invalid, "Transport type '"+p.TransportType+"' is not supported!")
	}
	if len(p.Body) == 0 {
		p.Body = json.RawMessage(defaultProfileBody)
	}
	if err := checkProvisioning(p); err != nil {
		return err
	}
	return checkTransport(*p)
}

// Create stores a profile under a name new to the tenant. IsDefault is left out: SetDefault moves it.
func (r *DeviceProfileRegistry) Create(ctx context.Context, p Profile) (Profile, error) {
	p.IsDefault = false
	return r.create(ctx, p)
}

func (r *DeviceProfileRegistry) create(ctx context.Context, p Profile) (Profile, error) {
	if err := checkProfile(&p); err != nil {
		return Profile{}, err
	}
	if err := r.all.Packages.checkPackages(ctx, p.Tenant, p.ID, Profile{}, p); err != nil {
		return Profile{}, err
	}
	p.ID, p.CreatedTime = ident.New(), r.all.nowMillis()
	created, err := r.profiles.create(ctx, p)
	return created, r.explain(ctx, err, p)
}

func (r *DeviceProfileRegistry) explain(ctx context.Context, err error, p Profile) error {
	if !errors.Is(err, storage.ErrTaken) {
		return err
	}
	if holder, lookup := r.ByName(ctx, p.Tenant, p.Name); lookup == nil && holder.ID != p.ID {
		return taken(err, profileTaken)
	}
	return taken(err, provisionKeyTaken)
}

func (r *DeviceProfileRegistry) createDefault(ctx context.Context, tenant ident.TenantID) (Profile, error) {
	return r.create(ctx, Profile{Tenant: tenant, Name: defaultProfileName, IsDefault: true})
}

// Get returns a tenant's profile.
func (r *DeviceProfileRegistry) Get(ctx context.Context, tenant ident.TenantID, id ident.ID) (Profile, error) {
	return r.profiles.get(ctx, tenant, id)
}

// ByName finds a profile by its exact name.
func (r *DeviceProfileRegistry) ByName(ctx context.Context, tenant ident.TenantID, name string) (Profile, error) {
	return r.profiles.byClaim(ctx, profileClaim(tenant, name))
}

func (r *DeviceProfileRegistry) defaults() defaults[Profile, *Profile] {
	return defaults[Profile, *Profile]{r.profiles, "device profile", defaultProfileClaim, func(p *Profile, is bool) { p.IsDefault = is }}
}

// Default returns the profile of devices that name none.
func (r *DeviceProfileRegistry) Default(ctx context.Context, tenant ident.TenantID) (Profile, error) {
	p, err := r.defaults().find(ctx, tenant)
	if errors.Is(err, storage.ErrNotFound) {
		return p, fault.Wrap(fault.NotFound, "Default device profile is not found", err)
	}
	return p, err
}

// SetDefault makes a profile the default one in place of the one that was.
func (r *DeviceProfileRegistry) SetDefault(ctx context.Context, tenant ident.TenantID, id ident.ID) (Profile, error) {
	if _, err := r.Get(ctx, tenant, id); err != nil {
		return Profile{}, err
	}
	old, err := r.Default(ctx, tenant)
	if err != nil {
		return Profile{}, err
	}
	return r.defaults().move(ctx, tenant, old, id)
}

// findOrCreate returns the profile called name, making it when there is none; "" is the default.
func (r *DeviceProfileRegistry) findOrCreate(ctx context.Context, tenant ident.TenantID, name string) (Profile, error) {
	if name == "" {
		return r.Default(ctx, tenant)
	}
	p, err := r.ByName(ctx, tenant, name)
	if !errors.Is(err, storage.ErrNotFound) {
		return p, err
	}
	p, err = r.Create(ctx, Profile{Tenant: tenant, Name: name})
	if errors.Is(err, storage.ErrTaken) {
		return r.ByName(ctx, tenant, name) // somebody else was faster
	}
	return p, err
}

// Update saves p; Version 0 overwrites. IsDefault stays as it was. The type of its devices
// follows its name.
func (r *DeviceProfileRegistry) Update(ctx context.Context, p Profile) (Profile, error) {
	if err := checkProfile(&p); err != nil {
		return Profile{}, err
	}
	renamed := false
	var given reassignment
	defer func() { given.ended(ctx) }()
	updated, err := r.profiles.update(ctx, p.Tenant, p.ID, p.Version, func(stored *Profile) error {
		if err := r.all.Packages.checkPackages(ctx, p.Tenant, p.ID, stored, p); err != nil {
			return err
		}
		if err := given.ofProfile(ctx, r.all, *stored, p); err != nil {
			return err
		}
		renamed = stored.Name != p.Name
		p.CreatedTime, p.IsDefault = stored.CreatedTime, stored.IsDefault
		*stored = p
		return nil
	})
	if err != nil {
		return Profile{}, r.explain(ctx, err, p)
	}
	if renamed {
		if err := r.all.Devices.renameType(ctx, updated); err != nil {
			return Profile{}, fmt.Errorf("rename the type of the profile's devices: %w", err)
		}
	}
	return updated, nil
}

// Delete removes a profile that is neither the default nor any device's.
func (r *DeviceProfileRegistry) Delete(ctx context.Context, tenant ident.TenantID, id ident.ID) error {
	p, err := r.Get(ctx, tenant, id)
	if err != nil {
		return err
	}
	if p.IsDefault {
		return fault.New(fault.Invalid, "Deletion of Default Device Profile is prohibited!")
	}
	holders, err := r.all.Devices.List(ctx, tenant, DeviceFilter{Profile: id}, PageRequest{Size: 1})
	if err != nil {
		return err
	}
	if holders.Total > 0 {
		return fault.New(fault.Invalid, "The device profile referenced by the devices cannot be deleted!")
	}
	return r.profiles.delete(ctx, tenant, id)
}

// List pages through a tenant's profiles, those of one transport type when it is not empty;
// Search looks into names.
func (r *DeviceProfileRegistry) List(ctx context.Context, tenant ident.TenantID, transportType string, page PageRequest) (Page[Profile], error) {
	keep := func(e row) bool { return transportType == "" || e.kind == transportType }
	return r.profiles.list(ctx, tenant, keep, page, profileOrder)
}
