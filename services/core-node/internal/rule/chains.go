package rule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// chainsKept bounds the cache: a chain per tenant and profile in use. At the bound it starts anew.
const chainsKept = 10_000

// chainLife is how long a chain is used without being read again, should an event be missed.
const chainLife = time.Minute

// Profiles finds device profiles.
type Profiles interface {
	Profile(ctx context.Context, tenant ident.TenantID, id ident.ID) (entity.Profile, error)
}

// Chains finds the compiled chain a message starts in. Safe for concurrent use.
type Chains struct {
	source   entity.RuleChains
	profiles Profiles
	compiler *Compiler

	mu         sync.RWMutex
	kept       map[route]keptChain
	generation int // counts Forget: what was read before it is not kept
	// compiled is the chains by their ids. One that did not change is compiled once: what its nodes remember
	// stays, and is the same on every route to it.
	compiled map[ident.ID]version
}

// version is a chain as it was compiled of the stored one of that number.
type version struct {
	number int64
	chain  *Chain
}

// route is a device profile's chain, or a chain by its id.
type route struct {
	tenant  ident.TenantID
	profile ident.ID
	chain   ident.ID
}

type keptChain struct {
	chain   *Chain
	expires time.Time
}

// NewChains returns Chains that keep what they read from source for a minute, or until it is forgotten.
func NewChains(source entity.RuleChains, profiles Profiles, compiler *Compiler) *Chains {
	return &Chains{source: source, profiles: profiles, compiler: compiler, kept: map[route]keptChain{}, compiled: map[ident.ID]version{}}
}

// For returns the chain of a device profile, or the tenant's root chain if that names none or
// profile is zero.
func (c *Chains) For(ctx context.Context, now time.Time, tenant ident.TenantID, profile ident.ID) (*Chain, error) {
	return c.get(ctx, now, route{tenant: tenant, profile: profile})
}

// ByID returns one of a tenant's chains; storage.ErrNotFound if there is none.
func (c *Chains) ByID(ctx context.Context, now time.Time, tenant ident.TenantID, id ident.ID) (*Chain, error) {
	return c.get(ctx, now, route{tenant: tenant, chain: id})
}

func (c *Chains) get(ctx context.Context, now time.Time, key route) (*Chain, error) {
	c.mu.RLock()
	kept, generation := c.kept[key], c.generation
	c.mu.RUnlock()
	if kept.chain != nil && now.Before(kept.expires) {
		return kept.chain, nil
	}
	chain, err := c.load(ctx, key)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation == generation {
		if len(c.kept) >= chainsKept {
			clear(c.kept)
		}
		c.kept[key] = keptChain{chain, now.Add(chainLife)}
	}
	return chain, nil
}

func (c *Chains) load(ctx context.Context, key route) (*Chain, error) {
	stored, err := c.find(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("find the rule chain: %w", err)
	}
	return c.compile(key.tenant, stored)
}

// compile returns the chain made of stored, which was compiled before unless some node of it could not run: what was
// missing may be there now.
func (c *Chains) compile(tenant ident.TenantID, stored entity.RuleChain) (*Chain, error) {
	c.mu.RLock()
	before, found := c.compiled[stored.ID]
	c.mu.RUnlock()
	if found && before.number == stored.Version && before.chain.Tenant == tenant {
		return before.chain, nil
	}
	chain, err := c.compiler.Compile(tenant, stored.ID, stored.Metadata)
	if err != nil || stored.Version == 0 || len(chain.Broken()) > 0 {
		return chain, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, found := c.compiled[stored.ID]; found && other.number == stored.Version && other.chain.Tenant == tenant {
		return other.chain, nil // somebody was faster; there is to be one
	}
	if len(c.compiled) >= chainsKept {
		clear(c.compiled)
	}
	c.compiled[stored.ID] = version{stored.Version, chain}
	return chain, nil
}

func (c *Chains) find(ctx context.Context, key route) (entity.RuleChain, error) {
	if !key.chain.IsZero() {
		return c.source.Chain(ctx, key.tenant, key.chain)
	}
	if key.profile.IsZero() {
		return c.source.RootChain(ctx, key.tenant)
	}
	profile, err := c.profiles.Profile(ctx, key.tenant, key.profile)
	if errors.Is(err, storage.ErrNotFound) || (err == nil && profile.DefaultRuleChain.IsZero()) {
		return c.source.RootChain(ctx, key.tenant)
	}
	if err != nil {
		return entity.RuleChain{}, err
	}
	return c.source.Chain(ctx, key.tenant, profile.DefaultRuleChain)
}

// Forget drops every chain of tenant.
func (c *Chains) Forget(tenant ident.TenantID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	for key := range c.kept {
		if key.tenant == tenant {
			delete(c.kept, key)
		}
	}
}

// ForgetAll drops every chain.
func (c *Chains) ForgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	clear(c.kept)
}
