package entity

import (
	"context"
	"errors"
	"time"
	"unicode"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Events tells all nodes of changes.
type Events interface {
	// Announce returns once the bus has acknowledged event.
	Announce(ctx context.Context, event *sluicepb.EntityEvent) error
}

// Values removes what entities measured.
type Values interface {
	DeleteEntity(ctx context.Context, e ident.EntityID) error
}

// Attached is what others keep of entities: relations, alarms.
type Attached interface {
	// EntityDeleted removes what is kept of an entity that is about to go. A tenant's own tenant is zero.
	EntityDeleted(ctx context.Context, tenant ident.TenantID, e ident.EntityID) error
}

// Options is what a Registry works with. Events is required.
type Options struct {
	Events    Events
	Lifecycle Lifecycle  // told of changes people make; may be nil
	Values    Values     // erased with their entity; may be nil
	Attached  []Attached // erased with their entity
	// Assignments is told of packages that devices are given; may be nil.
	Assignments Assignments
	Now         func() time.Time // nil: time.Now
	// IndexBytes bounds the lists kept in memory, over all tenants; 0 means 32 MiB.
	IndexBytes int
	// IndexLife is how long a list is shown without being loaded again, should the event of a change be missed; 0 means
	// a minute.
	IndexLife time.Duration
	// ActivationTTL is how long an activation link works; 0 means a day.
	ActivationTTL time.Duration
}

// Registry is all entities: one registry per kind over one store. Changes return once they are
// stored, seen by this node's lists and announced. When the announcement fails the change is
// stored nevertheless and the caller gets fault.Unavailable.
//
// Errors carry a fault.Kind and a message fit for people, and wrap storage.ErrNotFound
// (fault.NotFound), storage.ErrVersion (fault.Conflict) or storage.ErrTaken (fault.Invalid: a
// name in use). Safe for concurrent use.
type Registry struct {
	Tenants        *TenantRegistry
	Users          *UserRegistry
	Customers      *CustomerRegistry
	Devices        *DeviceRegistry
	DeviceProfiles *DeviceProfileRegistry
	Assets         *AssetRegistry
	AssetProfiles  *AssetProfileRegistry
	RuleChains     *RuleChainRegistry
	Packages       *PackageRegistry

	store   storage.Entities
	index   *index
	limits  *limits
	options Options
}

// New returns the entities kept in store.
func New(store storage.Entities, o Options) *Registry {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.IndexBytes == 0 {
		o.IndexBytes = 32 << 20
	}
	if o.IndexLife == 0 {
		o.IndexLife = time.Minute
	}
	if o.ActivationTTL == 0 {
		o.ActivationTTL = 24 * time.Hour
	}
	r := &Registry{store: store, options: o}
	r.limits = &limits{all: r, tenants: map[listKey]*creating{}}
	tenants := newRepository[Tenant](r, ident.Tenant)
	tenantProfiles := newRepository[TenantProfile](r, ident.TenantProfile)
	users := newRepository[storedUser](r, ident.User)
	customers := newRepository[Customer](r, ident.Customer)
	devices := newRepository[storedDevice](r, ident.Device)
	profiles := newRepository[Profile](r, ident.DeviceProfile)
	assets := newRepository[Asset](r, ident.Asset)
	assetProfiles := newRepository[AssetProfile](r, ident.AssetProfile)
	chains := newRepository[RuleChain](r, ident.RuleChain)
	packages := newRepository[Package](r, ident.OTAPackage)
	r.index = newIndex(store, o, map[ident.EntityType]func(storage.Document) (row, error){
		ident.Tenant: tenants.row, ident.TenantProfile: tenantProfiles.row, ident.User: users.row, ident.Customer: customers.row,
		ident.Device: devices.row, ident.DeviceProfile: profiles.row, ident.RuleChain: chains.row,
		ident.Asset: assets.row, ident.AssetProfile: assetProfiles.row,
		ident.OTAPackage: packages.row,
	})
	r.Tenants = &TenantRegistry{all: r, tenants: tenants, profiles: tenantProfiles}
	r.Users = &UserRegistry{all: r, users: users}
	r.Customers = &CustomerRegistry{all: r, customers: customers}
	r.Devices = &DeviceRegistry{all: r, devices: devices}
	r.DeviceProfiles = &DeviceProfileRegistry{all: r, profiles: profiles}
	r.Assets = &AssetRegistry{all: r, assets: assets}
	r.AssetProfiles = &AssetProfileRegistry{all: r, profiles: assetProfiles}
	r.RuleChains = &RuleChainRegistry{all: r, chains: chains}
	r.Packages = &PackageRegistry{all: r, packages: packages}
	return r
}

// Observe brings this node's lists up to date after a change that any node announced.
func (r *Registry) Observe(ctx context.Context, event *sluicepb.EntityEvent) error {
	tenant, err := ident.FromBytes(event.GetTenantId())
	if err != nil {
		return fault.Wrap(fault.Invalid, "read an entity event", err)
	}
	id, err := ident.FromBytes(event.GetEntity().GetId())
	if err != nil {
		return fault.Wrap(fault.Invalid, "read an entity event", err)
	}
	return r.index.refresh(ctx, ident.TenantID{ID: tenant}, ident.EntityID{Type: event.GetEntity().GetType(), ID: id})
}

// Forget drops this node's lists: they are loaded again when asked for. It is for when changes may have been missed.
func (r *Registry) Forget() { r.index.clear() }

// TenantOf says which tenant's a user, customer, profile, asset, rule chain, alarm or tenant is, whoever
// asks; zero is the system's. Devices are not found by it.
func (r *Registry) TenantOf(ctx context.Context, e ident.EntityID) (ident.TenantID, error) {
	d, err := r.store.ByClaim(ctx, idClaim(e))
	if err != nil {
		return ident.TenantID{}, notFound(e, err)
	}
	return d.Tenant, nil
}

func idClaim(e ident.EntityID) string { return "id/" + e.Type.String() + "/" + e.ID.String() }

func (r *Registry) nowMillis() int64 { return r.options.Now().UnixMilli() }

// changed makes a stored change known: to this node's lists, then to all nodes.
func (r *Registry) changed(ctx context.Context, d storage.Document, event *sluicepb.EntityEvent) error {
	if err := r.index.refresh(ctx, d.Tenant, d.ID); err != nil {
		return err
	}
	event.TenantId = d.Tenant.ID[:]
	event.Entity = &sluicepb.EntityId{Type: d.ID.Type, Id: d.ID.ID[:]}
	event.Version = d.Version
	if err := r.options.Events.Announce(ctx, event); err != nil {
		return fault.Wrap(fault.Unavailable, "announce the change of "+d.ID.String(), err)
	}
	return nil
}

func notFound(e ident.EntityID, err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return fault.Wrap(fault.NotFound, title(e.Type)+" with id ["+e.ID.String()+"] is not found", err)
	}
	return unavailable(err)
}

// unavailable gives a store that is away its kind.
func unavailable(err error) error {
	if errors.Is(err, storage.ErrUnavailable) {
		return fault.Wrap(fault.Unavailable, "The store is not available now", err)
	}
	return err
}

// taken says message when err is that of a claim in use.
func taken(err error, message string) error {
	if errors.Is(err, storage.ErrTaken) {
		return fault.Wrap(fault.Invalid, message, err)
	}
	return err
}

func title(t ident.EntityType) string {
	switch t {
	case ident.Tenant:
		return "Tenant"
	case ident.TenantProfile:
		return "Tenant profile"
	case ident.User:
		return "User"
	case ident.Customer:
		return "Customer"
	case ident.Device:
		return "Device"
	case ident.DeviceProfile:
		return "Device profile"
	case ident.RuleChain:
		return "Rule chain"
	case ident.Asset:
		return "Asset"
	case ident.AssetProfile:
		return "Asset profile"
	case ident.OTAPackage:
		return "OTA package"
	}
	return "Entity"
}

const maxName = 255

// checkName holds names to what lists, claims and look-ups can carry.
func checkName(field, name string) error {
	if name == "" {
		return fault.New(fault.Invalid, field+" should be specified!")
	}
	if len([]rune(name)) > maxName {
		return fault.New(fault.Invalid, field+" length must be equal or less than 255")
	}
	for _, c := range name {
		if unicode.IsControl(c) || c == unicode.ReplacementChar {
			return fault.New(fault.Invalid, field+" contains a control character")
		}
	}
	return nil
}
