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

// Customer is one of a tenant's customers.
type Customer struct {
	ID             ident.CustomerID
	Tenant         ident.TenantID
	Title          string
	Contact        Contact
	AdditionalInfo json.RawMessage
	External       ident.ID
	CreatedTime    int64
	Version        int64
}

func (c *Customer) row() row {
	return row{id: c.ID.ID, created: c.CreatedTime, name: c.Title, label: c.Contact.Email}
}
func (c *Customer) setVersion(v int64) { c.Version = v }
func (c *Customer) document() storage.Document {
	return storage.Document{
		Tenant: c.Tenant, ID: c.ID.Entity(), Version: c.Version,
		Claims: []string{idClaim(c.ID.Entity()), customerClaim(c.Tenant, c.Title)},
	}
}

func customerClaim(tenant ident.TenantID, title string) string {
	return "customer-title/" + tenant.String() + "/" + title
}

const (
	publicTitle   = "Public"
	customerTaken = "Customer with such title already exists!"
)

var customerOrder = order{"id": byID, "createdTime": byCreated, "title": byName, "name": byName, "email": byLabel}

// CustomerRegistry keeps the tenants' customers.
type CustomerRegistry struct {
	all       *Registry
	customers repository[Customer, *Customer]
}

func checkCustomer(c Customer) error {
	if err := checkName("title", c.Title); err != nil {
		return err
	}
	if c.Title == publicTitle {
		return fault.New(fault.Invalid, "'Public' title for customer is system reserved!")
	}
	return nil
}

// Create stores a customer under a title new to the tenant.
func (r *CustomerRegistry) Create(ctx context.Context, c Customer) (Customer, error) {
	if err := checkCustomer(c); err != nil {
		return Customer{}, err
	}
	return r.create(ctx, c)
}

func (r *CustomerRegistry) create(ctx context.Context, c Customer) (Customer, error) {
	admitted, err := r.all.limits.admit(ctx, c.Tenant, ident.Customer)
	if err != nil {
		return Customer{}, err
	}
	defer admitted()
	c.ID, c.CreatedTime = ident.CustomerID{ID: ident.New()}, r.all.nowMillis()
	created, err := r.customers.create(ctx, c)
	if err != nil {
		return Customer{}, taken(err, customerTaken)
	}
	return created, r.all.tell(ctx, EntityCreated, created)
}

// Public returns the customer whose things everybody may see, making it when there is none. It has no users.
func (r *CustomerRegistry) Public(ctx context.Context, tenant ident.TenantID) (Customer, error) {
	c, err := r.ByTitle(ctx, tenant, publicTitle)
	if !errors.Is(err, storage.ErrNotFound) {
		return c, err
	}
	c, err = r.create(ctx, Customer{Tenant: tenant, Title: publicTitle, AdditionalInfo: json.RawMessage(`{"isPublic":true}`)})
	if errors.Is(err, storage.ErrTaken) {
		return r.ByTitle(ctx, tenant, publicTitle) // somebody else was faster
	}
	return c, err
}

// Get returns a tenant's customer.
func (r *CustomerRegistry) Get(ctx context.Context, tenant ident.TenantID, id ident.CustomerID) (Customer, error) {
	return r.customers.get(ctx, tenant, id.ID)
}

// ByTitle finds a customer by its exact title.
func (r *CustomerRegistry) ByTitle(ctx context.Context, tenant ident.TenantID, title string) (Customer, error) {
	return r.customers.byClaim(ctx, customerClaim(tenant, title))
}

// Update saves c; Version 0 overwrites.
func (r *CustomerRegistry) Update(ctx context.Context, c Customer) (Customer, error) {
	if err := checkCustomer(c); err != nil {
		return Customer{}, err
	}
	updated, err := r.customers.update(ctx, c.Tenant, c.ID.ID, c.Version, func(stored *Customer) error {
		c.CreatedTime = stored.CreatedTime
		*stored = c
		return nil
	})
	if err != nil {
		return Customer{}, taken(err, customerTaken)
	}
	return updated, r.all.tell(ctx, EntityUpdated, updated)
}

// Delete removes a customer: its devices and assets stay with the tenant, its users go.
func (r *CustomerRegistry) Delete(ctx context.Context, tenant ident.TenantID, id ident.CustomerID) error {
	c, err := r.Get(ctx, tenant, id)
	if err != nil {
		return err
	}
	if err := r.all.Devices.unassignAll(ctx, tenant, id); err != nil {
		return fmt.Errorf("unassign devices: %w", err)
	}
	if err := r.all.Assets.unassignAll(ctx, tenant, id); err != nil {
		return fmt.Errorf("unassign assets: %w", err)
	}
	if err := r.all.Users.deleteOf(ctx, tenant, id); err != nil {
		return fmt.Errorf("delete users: %w", err)
	}
	if err := r.customers.delete(ctx, tenant, id.ID); err != nil {
		return err
	}
	return r.all.tell(ctx, EntityDeleted, c)
}

// List pages through a tenant's customers; Search looks into titles.
func (r *CustomerRegistry) List(ctx context.Context, tenant ident.TenantID, page PageRequest) (Page[Customer], error) {
	return r.customers.list(ctx, tenant, nil, page, customerOrder)
}
