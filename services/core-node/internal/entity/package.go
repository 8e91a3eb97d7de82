package entity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// PackageType is one of the names the REST API uses.
type PackageType string

// The types of packages.
const (
	Firmware PackageType = "FIRMWARE"
	Software PackageType = "SOFTWARE"
)

// Package is firmware or software for the devices of one profile. Nothing of it changes once it is there, but what is said of
// it beside, and that its data comes.
type Package struct {
	ID             ident.ID
	Tenant         ident.TenantID
	Profile        ident.ID
	Type           PackageType
	Title          string
	Version        string // as people number it
	Tag            string
	URL            string // where devices find the data, when the platform does not have it
	AdditionalInfo json.RawMessage
	External       ident.ID
	Data           PackageData
	CreatedTime    int64 // ms
	Revision       int64 // 1 after create, +1 per save
}

// PackageData describes the data of a package; zero until it is there.
type PackageData struct {
	Blob              string // its name in the store of blobs
	FileName          string
	ContentType       string
	ChecksumAlgorithm string
	Checksum          string // hexadecimal, lower case
	Size              int64
}

// Here reports whether the platform has the data.
func (d PackageData) Here() bool { return d.Blob != "" }

// HasData reports whether devices can have the data, from the platform or from a URL.
func (p Package) HasData() bool { return p.URL != "" || p.Data.Here() }

// Entity returns the package's id as that of an entity.
func (p Package) Entity() ident.EntityID { return ident.EntityID{Type: ident.OTAPackage, ID: p.ID} }

const packageTaken = "OTA package with such title and version already exists!"

func (p *Package) setVersion(v int64) { p.Revision = v }

func (p *Package) row() row {
	extra := ""
	if p.HasData() {
		extra = hasData
	}
	return row{id: p.ID, profile: p.Profile, created: p.CreatedTime, name: p.Title, label: p.Version, kind: string(p.Type), extra: extra}
}

// hasData is what lists keep of a package devices can have.
const hasData = "data"

func (p *Package) document() storage.Document {
	return storage.Document{
		Tenant: p.Tenant, ID: p.Entity(), Version: p.Revision,
		Claims: []string{idClaim(p.Entity()), packageClaim(p.Tenant, p.Type, p.Title, p.Version)},
	}
}

func packageClaim(tenant ident.TenantID, t PackageType, title, version string) string {
	return "ota-package/" + tenant.String() + "/" + string(t) + "/" + url.PathEscape(title) + "/" + url.PathEscape(version)
}

// PackageRegistry keeps the tenants' packages, without their data.
type PackageRegistry struct {
	all      *Registry
	packages repository[Package, *Package]
}

// Create stores a package whose title and version are new to the tenant and type. It has no data yet.
func (r *PackageRegistry) Create(ctx context.Context, p Package) (Package, error) {
	if err := r.check(ctx, p); err != nil {
		return Package{}, err
	}
	p.ID, p.CreatedTime, p.Data = ident.New(), r.all.nowMillis(), PackageData{}
	created, err := r.packages.create(ctx, p)
	return created, taken(err, packageTaken)
}

func (r *PackageRegistry) check(ctx context.Context, p Package) error {
	if p.Type != Firmware && p.Type != Software {
		return fault.New(fault.Invalid, fmt.Sprintf("type: %q is neither FIRMWARE nor SOFTWARE", p.Type))
	}
	if err := checkName("OTA package title", p.Title); err != nil {
		return err
	}
	if err := checkName("OTA package version", p.Version); err != nil {
		return err
	}
	if len([]rune(p.Tag)) > maxName {
		return fault.New(fault.Invalid, "tag length must be equal or less than 255")
	}
	if err := checkURL(p.URL); err != nil {
		return err
	}
	if p.Profile.IsZero() {
		return fault.New(fault.Invalid, "OTA package should be assigned to a device profile!")
	}
	if _, err := r.all.DeviceProfiles.Get(ctx, p.Tenant, p.Profile); errors.Is(err, storage.ErrNotFound) {
		return fault.Wrap(fault.Invalid, "OTA package is referencing to non-existent device profile!", err)
	} else if err != nil {
		return err
	}
	return nil
}

// maxURL is how long the URL of a package may be.
const maxURL = 2048

func checkURL(text string) error {
	if text == "" {
		return nil
	}
	if len(text) > maxURL {
		return fault.New(fault.Invalid, fmt.Sprintf("url length must be equal or less than %d", maxURL))
	}
	if u, err := url.Parse(text); err != nil || u.Scheme == "" || strings.ContainsAny(text, " \t\r\n") {
		return fault.New(fault.Invalid, "url: is not a URL")
	}
	return nil
}

// Update saves what may change of a package: its additional information, and the URL of one that has no data here. Revision 0 overwrites.
func (r *PackageRegistry) Update(ctx context.Context, p Package) (Package, error) {
	if err := checkURL(p.URL); err != nil {
		return Package{}, err
	}
	return r.packages.update(ctx, p.Tenant, p.ID, p.Revision, func(stored *Package) error {
		if field := differs(*stored, p); field != "" {
			return fault.New(fault.Invalid, "Updating OTA package "+field+" is prohibited!")
		}
		stored.AdditionalInfo, stored.External, stored.URL = p.AdditionalInfo, p.External, p.URL
		return nil
	})
}

// differs names a field of p that is not what is stored and has to be.
func differs(stored, p Package) string {
	switch {
	case stored.Type != p.Type:
		return "type"
	case stored.Title != p.Title:
		return "title"
	case stored.Version != p.Version:
		return "version"
	case stored.Tag != p.Tag:
		return "tag"
	case stored.Profile != p.Profile:
		return "device profile"
	case (stored.URL == "") != (p.URL == ""), stored.URL != p.URL && stored.Data.Here():
		return "url"
	}
	return ""
}

// Complete adds the data to a package that has none. Data of the same content there already is success: the package is
// returned with the blob it has.
func (r *PackageRegistry) Complete(ctx context.Context, tenant ident.TenantID, id ident.ID, data PackageData) (Package, error) {
	return r.packages.update(ctx, tenant, id, 0, func(stored *Package) error {
		have := stored.Data
		switch {
		case stored.URL != "":
			return fault.New(fault.Invalid, "OTA package has a URL: it takes no data")
		case have.Here() && have.ChecksumAlgorithm == data.ChecksumAlgorithm && have.Checksum == data.Checksum && have.Size == data.Size:
			return errUnchanged
		case have.Here():
			return fault.New(fault.Invalid, "Updating OTA package data is prohibited!")
		}
		stored.Data = data
		return nil
	})
}

// Get returns a tenant's package.
func (r *PackageRegistry) Get(ctx context.Context, tenant ident.TenantID, id ident.ID) (Package, error) {
	return r.packages.get(ctx, tenant, id)
}

// Each calls f for every package of the tenant, until f fails.
func (r *PackageRegistry) Each(ctx context.Context, tenant ident.TenantID, f func(Package) error) error {
	return r.packages.each(ctx, tenant, f)
}

// Delete removes a package that no device and no profile has been given. Its data is left to whoever is attached.
func (r *PackageRegistry) Delete(ctx context.Context, tenant ident.TenantID, id ident.ID) error {
	p, err := r.Get(ctx, tenant, id)
	if err != nil {
		return err
	}
	if err := r.unused(ctx, p); err != nil {
		return err
	}
	return r.packages.delete(ctx, tenant, id)
}

// unused refuses when p is assigned. A device given p within the last second at another node may be overlooked: it is left
// with a package that is not found.
func (r *PackageRegistry) unused(ctx context.Context, p Package) error {
	profile, err := r.all.DeviceProfiles.Get(ctx, p.Tenant, p.Profile)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	if profile.Assigned(p.Type) == p.ID {
		return fault.New(fault.Invalid, "The OTA package referenced by the device profile cannot be deleted!")
	}
	devices := r.all.Devices.devices
	assigned := func(e row) bool { return e.assigned(p.Type) && e.profile == p.Profile }
	for page := (PageRequest{Size: pageOfDevices}); ; page.Page++ {
		found, err := devices.list(ctx, p.Tenant, assigned, page, deviceOrder)
		if err != nil {
			return err
		}
		for _, s := range found.Items {
			if s.Device.Assigned(p.Type) == p.ID {
				return fault.New(fault.Invalid, "The OTA package referenced by the devices cannot be deleted!")
			}
		}
		if (page.Page+1)*page.Size >= found.Total {
			return nil
		}
	}
}

func (e row) assigned(t PackageType) bool {
	if t == Software {
		return e.software
	}
	return e.firmware
}

// pageOfDevices is how many devices are looked at together.
const pageOfDevices = 1000

// PackageFilter narrows a list of packages; zero fields do not.
type PackageFilter struct {
	Profile ident.ID
	Type    PackageType
	HasData bool // only those devices can have
}

var packageOrder = order{"id": byID, "createdTime": byCreated, "title": byName, "version": byLabel, "type": byKind, "name": byName}

// List pages through a tenant's packages; Search looks into titles and versions.
func (r *PackageRegistry) List(ctx context.Context, tenant ident.TenantID, f PackageFilter, page PageRequest) (Page[Package], error) {
	keep := func(e row) bool {
		return (f.Profile.IsZero() || e.profile == f.Profile) && (f.Type == "" || e.kind == string(f.Type)) && (!f.HasData || e.extra == hasData)
	}
	return r.packages.list(ctx, tenant, keep, page, packageOrder)
}
