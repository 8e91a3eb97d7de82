package entity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/reference"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Types of rule message that changes become (rule-engine reference §1.3).
const (
	EntityCreated       = "ENTITY_CREATED"
	EntityUpdated       = "ENTITY_UPDATED"
	EntityDeleted       = "ENTITY_DELETED"
	EntityAssigned      = "ENTITY_ASSIGNED"
	EntityUnassigned    = "ENTITY_UNASSIGNED"
	RelationAddOrUpdate = "RELATION_ADD_OR_UPDATE"
	RelationDeleted     = "RELATION_DELETED"
	RelationsDeleted    = "RELATIONS_DELETED"
	AlarmAck            = "ALARM_ACK"
	AlarmClear          = "ALARM_CLEAR"
	AlarmDelete         = "ALARM_DELETE"
	AlarmAssigned       = "ALARM_ASSIGNED"
	AlarmUnassigned     = "ALARM_UNASSIGNED"
)

// Change is what happened to an entity, or to something of it, on its way into the entity's rule chain.
type Change struct {
	Kind       string // type of the rule message
	Tenant     ident.TenantID
	Originator ident.EntityID
	Data       string // JSON of what changed, as the REST API shows it
	Metadata   map[string]string
}

// Lifecycle is told of changes made by people; it feeds rule chains and states.
type Lifecycle interface {
	// Happened returns once c cannot be lost.
	Happened(ctx context.Context, c Change) error
}

// Actor is who makes changes: a person, or a rule node.
type Actor struct {
	User      ident.ID
	UserName  string
	UserEmail string
	RuleNode  ident.ID
}

type actorKey struct{}

// WithActor returns a context in which changes are a's: their rule messages say so.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// by returns the metadata of who makes changes in ctx.
func by(ctx context.Context) map[string]string {
	m := map[string]string{}
	a, _ := ctx.Value(actorKey{}).(Actor)
	if !a.User.IsZero() {
		m["userId"], m["userName"], m["userEmail"] = a.User.String(), a.UserName, a.UserEmail
	}
	if !a.RuleNode.IsZero() {
		m["ruleNodeId"] = a.RuleNode.String()
	}
	return m
}

// Tell carries a change into its originator's rule chain, with the keys of who made it. The change is stored by then: the error,
// fault.Unavailable, says that rule chains may not hear of it.
func (r *Registry) Tell(ctx context.Context, c Change) error {
	if r.options.Lifecycle == nil {
		return nil
	}
	metadata := by(ctx)
	maps.Copy(metadata, c.Metadata)
	c.Metadata = metadata
	if err := r.options.Lifecycle.Happened(ctx, c); err != nil {
		return fault.Wrap(fault.Unavailable, "tell rule chains of the change", err)
	}
	return nil
}

// thing is what messages of an entity's own changes need of it.
type thing interface {
	change(kind string) (Change, error)
}

// tell carries the change of an entity of ours; more is added to its metadata.
func (r *Registry) tell(ctx context.Context, kind string, of thing, more ...string) error {
	c, err := of.change(kind)
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(more); i += 2 {
		c.Metadata[more[i]] = more[i+1]
	}
	return r.Tell(ctx, c)
}

// tellOfCustomer tells that an entity was given to a customer, or taken from one.
func (r *Registry) tellOfCustomer(ctx context.Context, kind string, of thing, tenant ident.TenantID, id ident.CustomerID) error {
	c, err := r.Customers.Get(ctx, tenant, id)
	if err != nil && !errors.Is(err, storage.ErrNotFound) { // it may have been deleted meanwhile
		return err
	}
	name := "assigned"
	if kind == EntityUnassigned {
		name = "unassigned"
	}
	return r.tell(ctx, kind, of, name+"CustomerId", id.String(), name+"CustomerName", c.Title)
}

func changeOf(kind string, tenant ident.TenantID, e ident.EntityID, name string, customer ident.CustomerID, shown any) (Change, error) {
	data, err := json.Marshal(shown)
	if err != nil {
		return Change{}, fmt.Errorf("encode %v: %w", e, err)
	}
	metadata := map[string]string{"entityName": name, "entityType": e.Type.String()}
	if !customer.IsZero() {
		metadata["customerId"] = customer.String()
	}
	return Change{Kind: kind, Tenant: tenant, Originator: e, Data: string(data), Metadata: metadata}, nil
}

// shownThing is what devices and assets have in common as the REST API shows them.
type shownThing struct {
	ID             reference.Entity `json:"id"`
	CreatedTime    int64            `json:"createdTime"`
	TenantID       reference.Entity `json:"tenantId"`
	CustomerID     reference.Entity `json:"customerId"`
	Name           string           `json:"name"`
	Type           string           `json:"type"`
	Label          string           `json:"label"`
	AdditionalInfo json.RawMessage  `json:"additionalInfo,omitempty"`
	Version        int64            `json:"version"`
}

func (d Device) change(kind string) (Change, error) {
	return changeOf(kind, d.Tenant, d.ID.Entity(), d.Name, d.Customer, struct {
		shownThing
		DeviceProfileID reference.Entity `json:"deviceProfileId"`
	}{
		shownThing{
			reference.Of(ident.Device, d.ID.ID), d.CreatedTime, reference.Of(ident.Tenant, d.Tenant.ID),
			reference.Of(ident.Customer, d.Customer.ID), d.Name, d.Type, d.Label, d.AdditionalInfo, d.Version,
		},
		reference.Of(ident.DeviceProfile, d.Profile),
	})
}

func (a Asset) change(kind string) (Change, error) {
	return changeOf(kind, a.Tenant, a.Entity(), a.Name, a.Customer, struct {
		shownThing
		AssetProfileID reference.Entity `json:"assetProfileId"`
	}{
		shownThing{
			reference.Of(ident.Asset, a.ID), a.CreatedTime, reference.Of(ident.Tenant, a.Tenant.ID),
			reference.Of(ident.Customer, a.Customer.ID), a.Name, a.Type, a.Label, a.AdditionalInfo, a.Version,
		},
		reference.Of(ident.AssetProfile, a.Profile),
	})
}

func (c Customer) change(kind string) (Change, error) {
	return changeOf(kind, c.Tenant, c.ID.Entity(), c.Title, ident.CustomerID{}, struct {
		ID             reference.Entity `json:"id"`
		CreatedTime    int64            `json:"createdTime"`
		AdditionalInfo json.RawMessage  `json:"additionalInfo,omitempty"`
		Country        string           `json:"country"`
		State          string           `json:"state"`
		City           string           `json:"city"`
		Address        string           `json:"address"`
		Address2       string           `json:"address2"`
		Zip            string           `json:"zip"`
		Phone          string           `json:"phone"`
		Email          string           `json:"email"`
		Title          string           `json:"title"`
		TenantID       reference.Entity `json:"tenantId"`
		Version        int64            `json:"version"`
		Name           string           `json:"name"`
	}{
		reference.Of(ident.Customer, c.ID.ID), c.CreatedTime, c.AdditionalInfo, c.Contact.Country, c.Contact.State, c.Contact.City,
		c.Contact.Address, c.Contact.Address2, c.Contact.Zip, c.Contact.Phone, c.Contact.Email, c.Title,
		reference.Of(ident.Tenant, c.Tenant.ID), c.Version, c.Title,
	})
}
