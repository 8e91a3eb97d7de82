// Package subject finds the entities a rule node is about besides its message's originator, and what they are.
//
// What is not there is an error that wraps storage.ErrNotFound, which is the message's own.
package subject

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// ErrNoCustomer says that an entity that may have a customer has none.
var ErrNoCustomer = errors.New("it has no customer")

// CustomerOf returns the customer a device, asset or user belongs to; a customer is its own.
func CustomerOf(ctx context.Context, s rule.Services, e ident.EntityID) (ident.CustomerID, error) {
	var c ident.CustomerID
	switch e.Type {
	case ident.Customer:
		return ident.CustomerID{ID: e.ID}, nil
	case ident.Device:
		d, err := s.Entities.Devices.Device(ctx, s.Tenant, ident.DeviceID{ID: e.ID})
		if err != nil {
			return c, fmt.Errorf("find the originator: %w", err)
		}
		c = d.Customer
	case ident.Asset:
		a, err := s.Entities.Assets.Get(ctx, s.Tenant, e.ID)
		if err != nil {
			return c, fmt.Errorf("find the originator: %w", err)
		}
		c = a.Customer
	case ident.User:
		u, err := s.Entities.Users.Get(ctx, s.Tenant, e.ID)
		if err != nil {
			return c, fmt.Errorf("find the originator: %w", err)
		}
		c = u.Customer
	default:
		return c, fmt.Errorf("a %s has no customer: %w", e.Type, storage.ErrNotFound)
	}
	if c.IsZero() {
		return c, fmt.Errorf("%s: %w: %w", e, ErrNoCustomer, storage.ErrNotFound)
	}
	return c, nil
}

// Named returns the tenant's entity of a type and name: a customer's title, a user's e-mail address. The tenant is found by its type.
func Named(ctx context.Context, s rule.Services, kind ident.EntityType, name string) (ident.EntityID, error) {
	e := ident.EntityID{Type: kind}
	switch kind {
	case ident.Tenant:
		e.ID = s.Tenant.ID
	case ident.Device:
		d, err := s.Entities.Devices.ByName(ctx, s.Tenant, name)
		if err != nil {
			return e, fmt.Errorf("find device %q: %w", name, err)
		}
		e.ID = d.ID.ID
	case ident.Asset:
		a, err := s.Entities.Assets.ByName(ctx, s.Tenant, name)
		if err != nil {
			return e, fmt.Errorf("find asset %q: %w", name, err)
		}
		e.ID = a.ID
	case ident.Customer:
		c, err := s.Entities.Customers.ByTitle(ctx, s.Tenant, name)
		if err != nil {
			return e, fmt.Errorf("find customer %q: %w", name, err)
		}
		e.ID = c.ID.ID
	case ident.User:
		u, _, err := s.Entities.Users.ByEmail(ctx, name)
		if err == nil && u.Tenant != s.Tenant {
			err = storage.ErrNotFound
		}
		if err != nil {
			return e, fmt.Errorf("find user %q: %w", name, err)
		}
		e.ID = u.ID
	default:
		return e, fmt.Errorf("find a %s by name: %w", kind, storage.ErrNotFound)
	}
	return e, nil
}

// Originate returns in as a message of e.
func Originate(ctx context.Context, s rule.Services, in *rule.Message, e ident.EntityID) (*rule.Message, error) {
	out := *in
	out.Originator, out.Profile = e, ident.ID{}
	switch e.Type {
	case ident.Device:
		d, err := s.Entities.Devices.Device(ctx, s.Tenant, ident.DeviceID{ID: e.ID})
		if err != nil {
			return nil, fmt.Errorf("find the new originator: %w", err)
		}
		out.Profile = d.Profile
	case ident.Customer:
		if out.Customer.IsZero() {
			out.Customer = ident.CustomerID{ID: e.ID}
		}
	}
	return &out, nil
}
