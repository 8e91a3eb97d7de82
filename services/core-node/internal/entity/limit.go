package entity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// LimitError is that of a create beyond what the tenant's profile allows; its kind is fault.Limited.
type LimitError struct {
	Kind  ident.EntityType
	Limit int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s limit of %d reached", title(e.Kind), e.Limit)
}

// limitFields are the limits of entities in a tenant profile's configuration; 0 is none (rest-api §3.5).
var limitFields = map[ident.EntityType]string{
	ident.Device: "maxDevices", ident.Asset: "maxAssets", ident.Customer: "maxCustomers", ident.User: "maxUsers", ident.RuleChain: "maxRuleChains",
}

func (p TenantProfile) limitOf(kind ident.EntityType) (int64, error) {
	configuration, err := p.configuration()
	if err != nil {
		return 0, err
	}
	var limit int64
	if raw := configuration[limitFields[kind]]; len(raw) > 0 {
		if err := json.Unmarshal(raw, &limit); err != nil || limit < 0 {
			return 0, fault.New(fault.Invalid, "profileData.configuration."+limitFields[kind]+": is not a number from 0 on")
		}
	}
	return limit, nil
}

func (p TenantProfile) checkLimits() error {
	for kind := range limitFields {
		if _, err := p.limitOf(kind); err != nil {
			return err
		}
	}
	return nil
}

// recount is how long the number of a tenant's entities is believed that are too many to keep a list of.
const recount = time.Minute

// limits counts the creates that are under way, so that those of one node never go beyond a limit together. Other nodes' are
// counted once their events came here: a tenant may have so many more as were made elsewhere within that moment, and, where
// it has more entities than lists are kept of, within a minute.
type limits struct {
	all *Registry

	mu      sync.Mutex
	tenants map[listKey]*creating
}

// creating is the creates of a tenant's entities of one kind.
type creating struct {
	mu      sync.Mutex // held while counting
	users   int        // who needs this; guarded by limits.mu
	pending int        // creates under way; guarded by limits.mu
	ended   chan struct{}

	counted int // of entities too many to keep a list of
	until   time.Time
}

// admit waits for room for one more entity of a kind and returns what to call when its create has ended. Without room it is a
// LimitError.
func (l *limits) admit(ctx context.Context, tenant ident.TenantID, kind ident.EntityType) (done func(), err error) {
	if tenant.IsZero() {
		return func() {}, nil
	}
	p, err := l.all.Tenants.profileOf(ctx, tenant)
	if errors.Is(err, storage.ErrNotFound) {
		return func() {}, nil // the tenant is being made, or is no more
	}
	if err != nil {
		return nil, err
	}
	limit, err := p.limitOf(kind)
	if err != nil || limit == 0 {
		return func() {}, err
	}
	key := listKey{tenant, kind}
	c := l.enter(key)
	if err := l.reserve(ctx, key, c, limit); err != nil {
		l.leave(key, c, false)
		return nil, err
	}
	return func() { l.leave(key, c, true) }, nil
}

func (l *limits) enter(key listKey) *creating {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.tenants[key]
	if c == nil {
		c = &creating{ended: make(chan struct{})}
		l.tenants[key] = c
	}
	c.users++
	return c
}

func (l *limits) leave(key listKey, c *creating, created bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if created {
		c.pending--
		close(c.ended)
		c.ended = make(chan struct{})
	}
	if c.users--; c.users == 0 && c.until.IsZero() {
		delete(l.tenants, key)
	}
}

// reserve counts the caller's create in. Creates under way may be among those counted already: at the edge it waits for them.
func (l *limits) reserve(ctx context.Context, key listKey, c *creating, limit int64) error {
	for {
		c.mu.Lock()
		n, err := l.count(ctx, key, c)
		if err != nil {
			c.mu.Unlock()
			return err
		}
		l.mu.Lock()
		pending, ended := c.pending, c.ended
		fits := int64(n)+int64(pending) < limit
		if fits {
			c.pending++
			c.counted++
		}
		l.mu.Unlock()
		c.mu.Unlock()
		switch {
		case fits:
			return nil
		case int64(n) >= limit || pending == 0:
			return fault.Wrap(fault.Limited, title(key.kind)+"s limit reached", &LimitError{key.kind, limit})
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// count returns how many there are; c.mu is held.
func (l *limits) count(ctx context.Context, key listKey, c *creating) (int, error) {
	x := l.all.index
	now := x.now()
	if now.Before(c.until) {
		return c.counted, nil
	}
	n, kept, err := x.count(ctx, key)
	if err != nil {
		return 0, unavailable(err)
	}
	c.until = time.Time{}
	if !kept {
		c.counted, c.until = n, now.Add(recount)
	}
	return n, nil
}
