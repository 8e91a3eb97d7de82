package entity

import (
	"context"
	_ "embed"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// rootChain is the chain every new tenant starts with (rule-engine reference §2.5).
//
//go:embed rootchain.json
var rootChain []byte

const rootChainName = "Root Rule Chain"

func (c *RuleChain) row() row           { return row{id: c.ID, created: c.CreatedTime, name: c.Name} }
func (c *RuleChain) setVersion(v int64) { c.Version = v }
func (c *RuleChain) document() storage.Document {
	id := ident.EntityID{Type: ident.RuleChain, ID: c.ID}
	claims := []string{idClaim(id)}
	if c.Root {
		claims = append(claims, rootClaim(c.Tenant))
	}
	return storage.Document{Tenant: c.Tenant, ID: id, Version: c.Version, Claims: claims}
}

func rootClaim(tenant ident.TenantID) string { return "root-chain/" + tenant.String() }

// RuleChainRegistry keeps the tenants' rule chains. It implements RuleChains.
type RuleChainRegistry struct {
	all    *Registry
	chains repository[RuleChain, *RuleChain]
}

// RootChain returns the chain that takes on the tenant's messages.
func (r *RuleChainRegistry) RootChain(ctx context.Context, tenant ident.TenantID) (RuleChain, error) {
	return r.chains.byClaim(ctx, rootClaim(tenant))
}

// Chain returns one of the tenant's chains.
func (r *RuleChainRegistry) Chain(ctx context.Context, tenant ident.TenantID, id ident.ID) (RuleChain, error) {
	return r.chains.get(ctx, tenant, id)
}

// Update saves c, whose Metadata the caller has validated; Version 0 overwrites. Which chain is the root stays as it was.
func (r *RuleChainRegistry) Update(ctx context.Context, c RuleChain) (RuleChain, error) {
	if err := checkName("name", c.Name); err != nil {
		return RuleChain{}, err
	}
	return r.chains.update(ctx, c.Tenant, c.ID, c.Version, func(stored *RuleChain) error {
		c.CreatedTime, c.Root = stored.CreatedTime, stored.Root
		*stored = c
		return nil
	})
}

func (r *RuleChainRegistry) createRoot(ctx context.Context, tenant ident.TenantID) error {
	_, err := r.chains.create(ctx, RuleChain{
		ID: ident.New(), Tenant: tenant, Name: rootChainName, Root: true,
		Metadata: rootChain, CreatedTime: r.all.nowMillis(),
	})
	return err
}
