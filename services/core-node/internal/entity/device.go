package entity

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// storedDevice is a device with its credentials: one document, so that neither is ever there
// without the other. Each has a version of its own, the document's only guards the write.
type storedDevice struct {
	Device      Device
	Credentials Credentials
}

func (s *storedDevice) row() row {
	d := s.Device
	return row{
		id: d.ID.ID, customer: d.Customer.ID, profile: d.Profile, created: d.CreatedTime, name: d.Name, label: d.Label, kind: d.Type,
		firmware: !d.Firmware.IsZero(), software: !d.Software.IsZero(),
	}
}

func (s *storedDevice) setVersion(int64) {}

func (s *storedDevice) document() storage.Document {
	return storage.Document{
		Tenant: s.Device.Tenant, ID: s.Device.ID.Entity(),
		Claims: []string{deviceClaim(s.Device.Tenant, s.Device.Name), credentialsClaim(s.Credentials.CredentialsID)},
	}
}

func deviceClaim(tenant ident.TenantID, name string) string {
	return "device-name/" + tenant.String() + "/" + name
}
func credentialsClaim(id string) string { return "credentials/" + id }

const (
	deviceTaken      = "Device with such name already exists!"
	credentialsTaken = "Device credentials are already assigned to another device!"
)

// DeviceRegistry keeps the tenants' devices and their credentials. It implements Devices.
type DeviceRegistry struct {
	all     *Registry
	devices repository[storedDevice, *storedDevice]
}

var _ Devices = (*DeviceRegistry)(nil)

// Create stores a device under a name new to the tenant, with credentials: nil makes an access
// token of 20 random characters. A zero Profile is found, or made, by the device's Type, and
// without one the default profile is taken; Type becomes the profile's name.
func (r *DeviceRegistry) Create(ctx context.Context, d Device, c *Credentials) (Device, error) {
	d.ID = ident.DeviceID{ID: ident.New()}
	created, err := r.store(ctx, d, c, func() error { return nil })
	if err != nil {
		return Device{}, err
	}
	if err := r.all.tell(ctx, EntityCreated, created); err != nil {
		return Device{}, err
	}
	return created, nil
}

// store is Create of a device that has its id already, and tells no rule chain of it. before is called when nothing but a claim in use
// stands against it.
func (r *DeviceRegistry) store(ctx context.Context, d Device, c *Credentials, before func() error) (Device, error) {
	if err := r.check(ctx, &d); err != nil {
		return Device{}, err
	}
	if err := r.all.Packages.checkPackages(ctx, d.Tenant, d.Profile, Device{}, d); err != nil {
		return Device{}, err
	}
	d.CreatedTime, d.Version = r.all.nowMillis(), 1
	if c == nil {
		c = &Credentials{Type: AccessToken, CredentialsID: NewToken()}
	}
	credentials := *c
	if err := credentials.complete(); err != nil {
		return Device{}, err
	}
	admitted, err := r.all.limits.admit(ctx, d.Tenant, ident.Device)
	if err != nil {
		return Device{}, err
	}
	defer admitted()
	if err := before(); err != nil {
		return Device{}, err
	}
	var given reassignment
	defer func() { given.ended(ctx) }()
	if err := given.ofDevice(ctx, r.all, Device{}, d); err != nil {
		return Device{}, err
	}
	credentials.ID, credentials.Device, credentials.Tenant, credentials.Version = ident.New(), d.ID, d.Tenant, 1
	created, err := r.devices.create(ctx, storedDevice{d, credentials})
	if err != nil {
		return Device{}, r.explain(ctx, err, d)
	}
	return created.Device, nil
}

// explain says which claim was in use: another device's name, or credentials.
func (r *DeviceRegistry) explain(ctx context.Context, err error, d Device) error {
	if !errors.Is(err, storage.ErrTaken) {
		return err
	}
	holder, lookup := r.devices.byClaim(ctx, deviceClaim(d.Tenant, d.Name))
	if lookup == nil && holder.Device.ID != d.ID {
		return taken(err, deviceTaken)
	}
	return taken(err, credentialsTaken)
}

// check validates what a tenant set and completes profile and type.
func (r *DeviceRegistry) check(ctx context.Context, d *Device) error {
	if err := checkName("Device name", d.Name); err != nil {
		return err
	}
	if len([]rune(d.Label)) > maxName {
		return fault.New(fault.Invalid, "label length must be equal or less than 255")
	}
	if !d.Customer.IsZero() {
		if _, err := r.all.Customers.Get(ctx, d.Tenant, d.Customer); errors.Is(err, storage.ErrNotFound) {
			return fault.Wrap(fault.Invalid, "Can't assign device to non-existent customer!", err)
		} else if err != nil {
			return err
		}
	}
	profile, err := r.profileOf(ctx, *d)
	if err != nil {
		return err
	}
	d.Profile, d.Type = profile.ID, profile.Name
	return nil
}

func (r *DeviceRegistry) profileOf(ctx context.Context, d Device) (Profile, error) {
	if d.Profile.IsZero() {
		return r.all.DeviceProfiles.findOrCreate(ctx, d.Tenant, d.Type)
	}
	p, err := r.Profile(ctx, d.Tenant, d.Profile)
	if errors.Is(err, storage.ErrNotFound) {
		return p, fault.Wrap(fault.Invalid, "Device is referencing to non-existent device profile!", err)
	}
	return p, err
}

// Device returns a tenant's device.
func (r *DeviceRegistry) Device(ctx context.Context, tenant ident.TenantID, id ident.DeviceID) (Device, error) {
	s, err := r.devices.get(ctx, tenant, id.ID)
	return s.Device, err
}

// Exists is Device for who needs nothing of it.
func (r *DeviceRegistry) Exists(ctx context.Context, tenant ident.TenantID, id ident.DeviceID) error {
	return r.devices.exists(ctx, tenant, id.ID)
}

// ByName finds a device by its exact name.
func (r *DeviceRegistry) ByName(ctx context.Context, tenant ident.TenantID, name string) (Device, error) {
	s, err := r.devices.byClaim(ctx, deviceClaim(tenant, name))
	return s.Device, err
}

// Profile returns a tenant's device profile.
func (r *DeviceRegistry) Profile(ctx context.Context, tenant ident.TenantID, id ident.ID) (Profile, error) {
	return r.all.DeviceProfiles.Get(ctx, tenant, id)
}

// EachDevice calls f for every device of every tenant, until f fails.
func (r *DeviceRegistry) EachDevice(ctx context.Context, f func(Device) error) error {
	return r.all.Tenants.tenants.each(ctx, ident.TenantID{}, func(t Tenant) error {
		return r.devices.each(ctx, t.ID, func(s storedDevice) error { return f(s.Device) })
	})
}

// Update saves d over what is stored; Version 0 overwrites. A zero Profile is completed as by
// Create. The customer stays as it was: Assign and Unassign change it.
func (r *DeviceRegistry) Update(ctx context.Context, d Device) (Device, error) {
	current, err := r.Device(ctx, d.Tenant, d.ID)
	if err != nil {
		return Device{}, err
	}
	d.Customer = current.Customer
	if err := r.check(ctx, &d); err != nil {
		return Device{}, err
	}
	had := current
	if had.Profile != d.Profile {
		had = Device{} // all it has must be of the new one
	}
	if err := r.all.Packages.checkPackages(ctx, d.Tenant, d.Profile, had, d); err != nil {
		return Device{}, err
	}
	var given reassignment
	defer func() { given.ended(ctx) }()
	updated, err := r.change(ctx, d.Tenant, d.ID, d.Version, func(stored *Device) error {
		if err := given.ofDevice(ctx, r.all, *stored, d); err != nil {
			return err
		}
		d.Customer, d.CreatedTime, d.Version = stored.Customer, stored.CreatedTime, stored.Version
		*stored = d
		return nil
	})
	if err != nil {
		return Device{}, taken(err, deviceTaken)
	}
	return updated, r.all.tell(ctx, EntityUpdated, updated)
}

func (r *DeviceRegistry) change(ctx context.Context, tenant ident.TenantID, id ident.DeviceID, version int64, change func(*Device) error) (Device, error) {
	s, err := r.devices.announceUpdate(ctx, tenant, id.ID, func(s *storedDevice) error {
		if err := change(&s.Device); err != nil {
			return err
		}
		s.Device.Version++
		return nil
	}, func(s *storedDevice) bool { return version == 0 || s.Device.Version == version }, nil)
	return s.Device, err
}

// Assign gives a device to one of the tenant's customers.
func (r *DeviceRegistry) Assign(ctx context.Context, tenant ident.TenantID, id ident.DeviceID, customer ident.CustomerID) (Device, error) {
	if _, err := r.all.Customers.Get(ctx, tenant, customer); err != nil {
		return Device{}, err
	}
	changed := false
	d, err := r.change(ctx, tenant, id, 0, func(d *Device) error {
		if changed = d.Customer != customer; !changed {
			return errUnchanged
		}
		d.Customer = customer
		return nil
	})
	if err != nil || !changed {
		return d, err
	}
	return d, r.all.tellOfCustomer(ctx, EntityAssigned, d, tenant, customer)
}

// ErrClaimed says that a device to be claimed has a customer already.
var ErrClaimed = fault.New(fault.Invalid, "The device has a customer already")

// Claim gives a device that has no customer to one; ErrClaimed when it has.
func (r *DeviceRegistry) Claim(ctx context.Context, tenant ident.TenantID, id ident.DeviceID, customer ident.CustomerID) (Device, error) {
	d, err := r.change(ctx, tenant, id, 0, func(d *Device) error {
		if !d.Customer.IsZero() {
			return ErrClaimed
		}
		d.Customer = customer
		return nil
	})
	if err != nil {
		return Device{}, err
	}
	return d, r.all.tellOfCustomer(ctx, EntityAssigned, d, tenant, customer)
}

// Unassign takes a device from its customer; fault.Invalid when it has none.
func (r *DeviceRegistry) Unassign(ctx context.Context, tenant ident.TenantID, id ident.DeviceID) (Device, error) {
	var had ident.CustomerID
	d, err := r.change(ctx, tenant, id, 0, func(d *Device) error {
		if had = d.Customer; had.IsZero() {
			return fault.New(fault.Invalid, "Device isn't assigned to any customer!")
		}
		d.Customer = ident.CustomerID{}
		return nil
	})
	if err != nil {
		return Device{}, err
	}
	return d, r.all.tellOfCustomer(ctx, EntityUnassigned, d, tenant, had)
}

// Delete removes a device, its credentials and its values, and has its sessions closed.
func (r *DeviceRegistry) Delete(ctx context.Context, tenant ident.TenantID, id ident.DeviceID) error {
	s, err := r.devices.get(ctx, tenant, id.ID)
	if err != nil {
		return err
	}
	event := &sluicepb.EntityEvent{CredentialsChanged: true, CredentialsIds: []string{s.Credentials.CredentialsID}}
	if err := r.devices.announceDelete(ctx, tenant, id.ID, event); err != nil {
		return err
	}
	return r.all.tell(ctx, EntityDeleted, s.Device)
}

func (r *DeviceRegistry) deleteAll(ctx context.Context, tenant ident.TenantID) error {
	return r.devices.each(ctx, tenant, func(s storedDevice) error { return ignoreMissing(r.Delete(ctx, tenant, s.Device.ID)) })
}

func (r *DeviceRegistry) unassignAll(ctx context.Context, tenant ident.TenantID, customer ident.CustomerID) error {
	return r.devices.each(ctx, tenant, func(s storedDevice) error {
		if s.Device.Customer != customer {
			return nil
		}
		_, err := r.change(ctx, tenant, s.Device.ID, 0, func(d *Device) error {
			if d.Customer != customer {
				return errUnchanged
			}
			d.Customer = ident.CustomerID{}
			return nil
		})
		return ignoreMissing(err)
	})
}

// renameType follows a profile's new name, which is the type of its devices.
func (r *DeviceRegistry) renameType(ctx context.Context, p Profile) error {
	return r.devices.each(ctx, p.Tenant, func(s storedDevice) error {
		if s.Device.Profile != p.ID || s.Device.Type == p.Name {
			return nil
		}
		_, err := r.change(ctx, p.Tenant, s.Device.ID, 0, func(d *Device) error {
			if d.Profile != p.ID {
				return errUnchanged
			}
			d.Type = p.Name
			return nil
		})
		return ignoreMissing(err)
	})
}

// DeviceFilter narrows a list of devices; zero fields do not.
type DeviceFilter struct {
	Type     string
	Profile  ident.ID
	Customer ident.CustomerID
	Match    func(ident.DeviceID) bool // what the registry does not know, such as being active; brief
}

func (f DeviceFilter) keep(e row) bool {
	return (f.Type == "" || e.kind == f.Type) && (f.Profile.IsZero() || e.profile == f.Profile) &&
		(f.Customer.IsZero() || e.customer == f.Customer.ID) && (f.Match == nil || f.Match(ident.DeviceID{ID: e.id}))
}

var deviceOrder = order{"id": byID, "createdTime": byCreated, "name": byName, "label": byLabel, "type": byKind, "deviceProfileName": byKind}

// List pages through a tenant's devices; Search looks into names and labels.
func (r *DeviceRegistry) List(ctx context.Context, tenant ident.TenantID, f DeviceFilter, page PageRequest) (Page[Device], error) {
	found, err := r.devices.list(ctx, tenant, f.keep, page, deviceOrder)
	if err != nil {
		return Page[Device]{}, fmt.Errorf("list devices: %w", err)
	}
	devices := Page[Device]{Items: make([]Device, len(found.Items)), Total: found.Total}
	for i, s := range found.Items {
		devices.Items[i] = s.Device
	}
	return devices, nil
}
