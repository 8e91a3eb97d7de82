package entity

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// rootChain is the chain every new tenant starts with (rule-engine reference §2.5).
//
//go:embed rootchain.json
var rootChain []byte

const rootChainName = "Root Rule Chain"

// CoreChain is the type of rule chains that run here.
const CoreChain = "CORE"

// DefaultChain returns the document a new tenant's root chain starts with, in a copy of the caller's own.
func DefaultChain() json.RawMessage { return append(json.RawMessage(nil), rootChain...) }

func (c *RuleChain) row() row {
	kind := c.Type
	if kind == "" {
		kind = CoreChain
	}
	return row{id: c.ID, created: c.CreatedTime, name: c.Name, kind: kind}
}
func (c *RuleChain) setVersion(v int64) { c.Version = v }
func (c *RuleChain) document() storage.Document {
	id := ident.EntityID{Type: ident.RuleChain, ID: c.ID}
	claims := []string{idClaim(id)}
	if c.Root {
		claims = append(claims, rootClaim(c.Tenant))
	}
	return storage.Document{Tenant: c.Tenant, ID: id, Version: c.Version, Claims: claims}
}

// rootClaim is held by the chain a tenant was made with; it is the root until the tenant names another.
func rootClaim(tenant ident.TenantID) string { return "root-chain/" + tenant.String() }

var chainOrder = order{"id": byID, "createdTime": byCreated, "name": byName, "type": byKind}

// RuleChainRegistry keeps the tenants' rule chains. It implements RuleChains. Which chain is the root is one field of the
// tenant, so that there is one at any moment.
type RuleChainRegistry struct {
	all    *Registry
	chains repository[RuleChain, *RuleChain]
}

// RootChain returns the chain that takes on the tenant's messages.
func (r *RuleChainRegistry) RootChain(ctx context.Context, tenant ident.TenantID) (RuleChain, error) {
	named, err := r.named(ctx, tenant)
	if err != nil {
		return RuleChain{}, err
	}
	if named.IsZero() {
		return r.first(ctx, tenant)
	}
	c, err := r.chains.get(ctx, tenant, named)
	if errors.Is(err, storage.ErrNotFound) { // deleted at the moment it was named
		return r.first(ctx, tenant)
	}
	c.Root = true
	return c, err
}

// first returns the chain the tenant was made with.
func (r *RuleChainRegistry) first(ctx context.Context, tenant ident.TenantID) (RuleChain, error) {
	return r.chains.byClaim(ctx, rootClaim(tenant))
}

// named returns the root the tenant names; zero when it names none, or is not stored yet.
func (r *RuleChainRegistry) named(ctx context.Context, tenant ident.TenantID) (ident.ID, error) {
	t, err := r.all.Tenants.Get(ctx, tenant)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return ident.ID{}, fmt.Errorf("find the tenant's root rule chain: %w", err)
	}
	return t.RootChain, nil
}

// SetRoot makes a chain the tenant's root in place of the one that was.
func (r *RuleChainRegistry) SetRoot(ctx context.Context, tenant ident.TenantID, id ident.ID) (RuleChain, error) {
	c, err := r.Chain(ctx, tenant, id)
	if err != nil {
		return RuleChain{}, err
	}
	if c.row().kind != CoreChain {
		return RuleChain{}, fault.New(fault.Invalid, "Only a rule chain of type "+CoreChain+" can be the root!")
	}
	_, err = r.all.Tenants.tenants.update(ctx, ident.TenantID{}, tenant.ID, 0, func(t *Tenant) error {
		t.RootChain = id
		return nil
	})
	c.Root = true
	return c, err
}

// Chain returns one of the tenant's chains.
func (r *RuleChainRegistry) Chain(ctx context.Context, tenant ident.TenantID, id ident.ID) (RuleChain, error) {
	c, err := r.chains.get(ctx, tenant, id)
	if err != nil {
		return RuleChain{}, err
	}
	named, err := r.named(ctx, tenant)
	return rooted(c, named), err
}

// rooted returns c with Root set from what the tenant names.
func rooted(c RuleChain, named ident.ID) RuleChain {
	if !named.IsZero() {
		c.Root = c.ID == named
	}
	return c
}

// List pages through a tenant's chains of one type; Search looks into names.
func (r *RuleChainRegistry) List(ctx context.Context, tenant ident.TenantID, kind string, page PageRequest) (Page[RuleChain], error) {
	return r.list(ctx, tenant, func(e row) bool { return e.kind == kind }, page)
}

// ByName returns the tenant's oldest chain of a type and name; names are not unique.
func (r *RuleChainRegistry) ByName(ctx context.Context, tenant ident.TenantID, kind, name string) (RuleChain, error) {
	found, err := r.list(ctx, tenant, func(e row) bool { return e.kind == kind && e.name == name }, PageRequest{Size: 1})
	if err != nil {
		return RuleChain{}, err
	}
	if len(found.Items) == 0 {
		return RuleChain{}, fault.Wrap(fault.NotFound, "Requested item wasn't found!", storage.ErrNotFound)
	}
	return found.Items[0], nil
}

func (r *RuleChainRegistry) list(ctx context.Context, tenant ident.TenantID, keep func(row) bool, page PageRequest) (Page[RuleChain], error) {
	found, err := r.chains.list(ctx, tenant, keep, page, chainOrder)
	if err != nil {
		return Page[RuleChain]{}, err
	}
	named, err := r.named(ctx, tenant)
	for i := range found.Items {
		found.Items[i] = rooted(found.Items[i], named)
	}
	return found, err
}

// Each calls f for every chain of the tenant, in order of id, until f fails.
func (r *RuleChainRegistry) Each(ctx context.Context, tenant ident.TenantID, f func(RuleChain) error) error {
	named, err := r.named(ctx, tenant)
	if err != nil {
		return err
	}
	return r.chains.each(ctx, tenant, func(c RuleChain) error { return f(rooted(c, named)) })
}

// Create stores c, whose Metadata the caller has validated, under the id it has, else a new one. It is not the root.
func (r *RuleChainRegistry) Create(ctx context.Context, c RuleChain) (RuleChain, error) {
	if err := checkName("name", c.Name); err != nil {
		return RuleChain{}, err
	}
	if c.ID.IsZero() {
		c.ID = ident.New()
	}
	admitted, err := r.all.limits.admit(ctx, c.Tenant, ident.RuleChain)
	if err != nil {
		return RuleChain{}, err
	}
	defer admitted()
	c.CreatedTime, c.Root = r.all.nowMillis(), false
	return r.chains.create(ctx, c)
}

// Update saves c, whose Metadata the caller has validated; Version 0 overwrites. Which chain is the root stays as it was.
func (r *RuleChainRegistry) Update(ctx context.Context, c RuleChain) (RuleChain, error) {
	return r.Change(ctx, c.Tenant, c.ID, c.Version, func(stored *RuleChain) error {
		*stored = c
		return nil
	})
}

// Change applies change to a stored chain, again when somebody else was first; it validates Metadata. version 0 takes any,
// another must be the stored one. What a chain's id, times and place as the root are, change cannot say.
func (r *RuleChainRegistry) Change(ctx context.Context, tenant ident.TenantID, id ident.ID, version int64, change func(*RuleChain) error) (RuleChain, error) {
	updated, err := r.chains.update(ctx, tenant, id, version, func(c *RuleChain) error {
		before := *c
		if err := change(c); err != nil {
			return err
		}
		c.ID, c.Tenant, c.CreatedTime, c.Root = before.ID, before.Tenant, before.CreatedTime, before.Root
		return checkName("name", c.Name)
	})
	if err != nil {
		return RuleChain{}, err
	}
	named, err := r.named(ctx, tenant)
	return rooted(updated, named), err
}

// Delete removes a chain that is neither the root nor any profile's.
func (r *RuleChainRegistry) Delete(ctx context.Context, tenant ident.TenantID, id ident.ID) error {
	c, err := r.Chain(ctx, tenant, id)
	if err != nil {
		return err
	}
	if c.Root {
		return fault.New(fault.Invalid, "Deletion of Root Tenant Rule Chain is prohibited!")
	}
	err = r.all.DeviceProfiles.profiles.each(ctx, tenant, func(p Profile) error {
		if p.DefaultRuleChain == id {
			return fault.New(fault.Invalid, "The rule chain referenced by the device profiles cannot be deleted!")
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = r.all.AssetProfiles.profiles.each(ctx, tenant, func(p AssetProfile) error {
		if p.DefaultRuleChain == id {
			return fault.New(fault.Invalid, "The rule chain referenced by the asset profiles cannot be deleted!")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.chains.delete(ctx, tenant, id)
}

func (r *RuleChainRegistry) createRoot(ctx context.Context, tenant ident.TenantID) error {
	_, err := r.chains.create(ctx, RuleChain{
		ID: ident.New(), Tenant: tenant, Name: rootChainName, Type: CoreChain, Root: true,
		Metadata: rootChain, CreatedTime: r.all.nowMillis(),
	})
	return err
}
