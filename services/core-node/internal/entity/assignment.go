package entity

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Assigned is the device's own package of a type, or none.
func (d Device) Assigned(t PackageType) ident.ID {
	if t == Software {
		return d.Software
	}
	return d.Firmware
}

// Assigned is the package of a type that the profile's devices have unless they have one of their own, or none.
func (p Profile) Assigned(t PackageType) ident.ID {
	type reference struct {
		ID string `json:"id"`
	}
	var body struct {
		FirmwareID *reference `json:"firmwareId"`
		SoftwareID *reference `json:"softwareId"`
	}
	if json.Unmarshal(p.Body, &body) != nil {
		return ident.ID{} // checked before it was stored
	}
	given := body.FirmwareID
	if t == Software {
		given = body.SoftwareID
	}
	if given == nil {
		return ident.ID{}
	}
	id, err := ident.Parse(given.ID)
	if err != nil {
		return ident.ID{} // of a time when anything was kept
	}
	return id
}

// assignable refuses a package that devices of profile cannot be given.
func (r *PackageRegistry) assignable(ctx context.Context, tenant ident.TenantID, id, profile ident.ID, t PackageType) error {
	if id.IsZero() {
		return nil
	}
	named := "firmware"
	if t == Software {
		named = "software"
	}
	p, err := r.Get(ctx, tenant, id)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return fault.Wrap(fault.Invalid, "Can't assign non-existent "+named+"!", err)
	case err != nil:
		return err
	case p.Type != t:
		return fault.New(fault.Invalid, "Can't assign "+named+" with type: "+string(p.Type))
	case !p.HasData():
		return fault.New(fault.Invalid, "Can't assign "+named+" with empty data!")
	case p.Profile != profile:
		return fault.New(fault.Invalid, "Can't assign "+named+" with different deviceProfile!")
	}
	return nil
}

// checkPackages holds what a device, or a profile, was given to what it may be given; what it had before is not looked at again.
func (r *PackageRegistry) checkPackages(ctx context.Context, tenant ident.TenantID, profile ident.ID, had, given interface{ Assigned(PackageType) ident.ID }) error {
	for _, t := range []PackageType{Firmware, Software} {
		id := given.Assigned(t)
		if id == had.Assigned(t) {
			continue
		}
		if err := r.assignable(ctx, tenant, id, profile, t); err != nil {
			return err
		}
	}
	return nil
}

// PackageOf returns the package of a type that a device has: its own, else its profile's. None, or one that is gone, is
// fault.NotFound.
func (r *PackageRegistry) PackageOf(ctx context.Context, d Device, t PackageType) (Package, error) {
	id := d.Assigned(t)
	if id.IsZero() {
		profile, err := r.all.DeviceProfiles.Get(ctx, d.Tenant, d.Profile)
		if err != nil {
			return Package{}, err
		}
		id = profile.Assigned(t)
	}
	if id.IsZero() {
		return Package{}, fault.Wrap(fault.NotFound, "No OTA package is assigned", storage.ErrNotFound)
	}
	return r.Get(ctx, d.Tenant, id)
}

// CountFollowing returns how many devices of a profile have no package of a type of their own: those that have the profile's.
func (r *DeviceRegistry) CountFollowing(ctx context.Context, tenant ident.TenantID, profile ident.ID, t PackageType) (int, error) {
	following := func(e row) bool { return e.profile == profile && !e.assigned(t) }
	found, err := r.devices.list(ctx, tenant, following, PageRequest{Size: 1}, deviceOrder)
	return found.Total, err
}

// Assignments is told of devices and profiles whose devices may have other packages.
type Assignments interface {
	// Changing notes durably that the packages of e, a device or a device profile, are about to change; nothing is changed before it
	// returns. The function it returns is called when they have been, or when they will not be; what is noted and never told of, as
	// the process died, is looked after as well.
	Changing(ctx context.Context, tenant ident.TenantID, e ident.EntityID) (changed func(context.Context), err error)
}

// reassignment is a change of which packages devices have, noted before it is stored. The zero value is none.
type reassignment struct{ changed func(context.Context) }

func (m *reassignment) note(ctx context.Context, all *Registry, tenant ident.TenantID, e ident.EntityID) (err error) {
	if m.changed == nil && all.options.Assignments != nil {
		m.changed, err = all.options.Assignments.Changing(ctx, tenant, e)
	}
	return err
}

// ended is called when what was noted is stored, or will not be.
func (m *reassignment) ended(ctx context.Context) {
	if m.changed != nil {
		m.changed(ctx)
	}
}

// ofDevice notes that a device is about to have other packages than it has, if so.
func (m *reassignment) ofDevice(ctx context.Context, all *Registry, before, after Device) error {
	if before.Profile == after.Profile && before.Firmware == after.Firmware && before.Software == after.Software {
		return nil
	}
	had, err := all.Packages.had(ctx, before)
	if err != nil {
		return err
	}
	has, err := all.Packages.had(ctx, after)
	if err != nil || had == has {
		return err
	}
	return m.note(ctx, all, after.Tenant, after.ID.Entity())
}

// ofProfile is ofDevice for all devices of a profile.
func (m *reassignment) ofProfile(ctx context.Context, all *Registry, before, after Profile) error {
	if before.Assigned(Firmware) == after.Assigned(Firmware) && before.Assigned(Software) == after.Assigned(Software) {
		return nil
	}
	return m.note(ctx, all, after.Tenant, ident.EntityID{Type: ident.DeviceProfile, ID: after.ID})
}

// had returns the firmware and the software a device has, its own or its profile's.
func (r *PackageRegistry) had(ctx context.Context, d Device) (found [2]ident.ID, err error) {
	var profile Profile
	if (d.Firmware.IsZero() || d.Software.IsZero()) && !d.Profile.IsZero() {
		if profile, err = r.all.DeviceProfiles.Get(ctx, d.Tenant, d.Profile); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return found, err
		}
	}
	for i, t := range []PackageType{Firmware, Software} {
		if found[i] = d.Assigned(t); found[i].IsZero() {
			found[i] = profile.Assigned(t)
		}
	}
	return found, nil
}

// OfProfile returns the next devices of a profile in order of id, after one: at most size of them. It looks at no more than a
// few thousand devices; last is where it came to, zero when there are no more.
func (r *DeviceRegistry) OfProfile(ctx context.Context, tenant ident.TenantID, profile, after ident.ID, size int) (found []ident.DeviceID, last ident.ID, err error) {
	seen := 0
	for d, err := range r.all.store.List(ctx, tenant, ident.Device, after) {
		if err != nil {
			return nil, after, unavailable(err)
		}
		s, err := r.devices.decode(d)
		if err != nil {
			return nil, after, err
		}
		if s.Device.Profile == profile {
			found = append(found, s.Device.ID)
		}
		if seen++; len(found) == size || seen == devicesLookedAt {
			return found, s.Device.ID.ID, nil
		}
	}
	return found, ident.ID{}, nil
}

const devicesLookedAt = 5000
