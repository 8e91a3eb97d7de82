package subject

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/reference"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// common is what all entities have.
type common struct {
	ID             reference.Entity  `json:"id"`
	CreatedTime    int64             `json:"createdTime"`
	TenantID       *reference.Entity `json:"tenantId,omitempty"`
	CustomerID     *reference.Entity `json:"customerId,omitempty"`
	Name           string            `json:"name"`
	Title          string            `json:"title,omitempty"`
	AdditionalInfo json.RawMessage   `json:"additionalInfo"`
	Version        int64             `json:"version"`
}

type device struct {
	common
	Type            string            `json:"type"`
	Label           *string           `json:"label"`
	DeviceProfileID reference.Entity  `json:"deviceProfileId"`
	FirmwareID      *reference.Entity `json:"firmwareId"`
	SoftwareID      *reference.Entity `json:"softwareId"`
}

type asset struct {
	common
	Type           string           `json:"type"`
	Label          *string          `json:"label"`
	AssetProfileID reference.Entity `json:"assetProfileId"`
}

type contacted struct {
	common
	Region   string  `json:"region,omitempty"`
	Country  *string `json:"country"`
	State    *string `json:"state"`
	City     *string `json:"city"`
	Address  *string `json:"address"`
	Address2 *string `json:"address2"`
	Zip      *string `json:"zip"`
	Phone    *string `json:"phone"`
	Email    *string `json:"email"`
}

type user struct {
	common
	Email     string  `json:"email"`
	Authority string  `json:"authority"`
	FirstName *string `json:"firstName"`
	LastName  *string `json:"lastName"`
	Phone     *string `json:"phone"`
}

// View returns an entity as JSON, as events about it carry it.
func View(ctx context.Context, s rule.Services, e ident.EntityID) (*object.Object, error) {
	view, err := find(ctx, s, e)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", e, err)
	}
	text, err := json.Marshal(view)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", e, err)
	}
	return object.Parse(string(text))
}

func find(ctx context.Context, s rule.Services, e ident.EntityID) (any, error) {
	switch e.Type {
	case ident.Device:
		d, err := s.Entities.Devices.Device(ctx, s.Tenant, ident.DeviceID{ID: e.ID})
		if err != nil {
			return nil, err
		}
		return ofDevice(d), nil
	case ident.Asset:
		a, err := s.Entities.Assets.Get(ctx, s.Tenant, e.ID)
		if err != nil {
			return nil, err
		}
		return ofAsset(a), nil
	case ident.Customer:
		c, err := s.Entities.Customers.Get(ctx, s.Tenant, ident.CustomerID{ID: e.ID})
		if err != nil {
			return nil, err
		}
		v := withContact(common{CreatedTime: c.CreatedTime, Title: c.Title, AdditionalInfo: info(c.AdditionalInfo), Version: c.Version}, c.Contact)
		v.of(e, s.Tenant, c.Title)
		return v, nil
	case ident.Tenant:
		if e.ID != s.Tenant.ID {
			return nil, storage.ErrNotFound
		}
		t, err := s.Entities.Tenants.Get(ctx, s.Tenant)
		if err != nil {
			return nil, err
		}
		v := withContact(common{CreatedTime: t.CreatedTime, Title: t.Title, AdditionalInfo: info(t.AdditionalInfo), Version: t.Version}, t.Contact)
		v.ID, v.Name, v.Region = reference.Of(e.Type, e.ID), t.Title, t.Region
		return v, nil
	case ident.User:
		u, err := s.Entities.Users.Get(ctx, s.Tenant, e.ID)
		if err != nil {
			return nil, err
		}
		v := user{
			Email: u.Email, Authority: string(u.Authority), FirstName: given(u.FirstName), LastName: given(u.LastName), Phone: given(u.Phone),
			common: common{CreatedTime: u.CreatedTime, AdditionalInfo: info(u.AdditionalInfo), Version: u.Version},
		}
		v.of(e, s.Tenant, u.Email)
		v.owner(u.Customer)
		return v, nil
	}
	return nil, fmt.Errorf("a %s has no fields: %w", e.Type, storage.ErrNotFound)
}

func ofDevice(d entity.Device) device {
	v := device{
		Type: d.Type, Label: given(d.Label), DeviceProfileID: reference.Of(ident.DeviceProfile, d.Profile),
		common: common{CreatedTime: d.CreatedTime, AdditionalInfo: info(d.AdditionalInfo), Version: d.Version},
	}
	v.of(d.ID.Entity(), d.Tenant, d.Name)
	v.owner(d.Customer)
	return v
}

func ofAsset(a entity.Asset) asset {
	v := asset{
		Type: a.Type, Label: given(a.Label), AssetProfileID: reference.Of(ident.AssetProfile, a.Profile),
		common: common{CreatedTime: a.CreatedTime, AdditionalInfo: info(a.AdditionalInfo), Version: a.Version},
	}
	v.of(a.Entity(), a.Tenant, a.Name)
	v.owner(a.Customer)
	return v
}

func (c *common) of(e ident.EntityID, tenant ident.TenantID, name string) {
	owner := reference.Of(ident.Tenant, tenant.ID)
	c.ID, c.TenantID, c.Name = reference.Of(e.Type, e.ID), &owner, name
}

func (c *common) owner(customer ident.CustomerID) {
	owner := reference.Of(ident.Customer, customer.ID)
	c.CustomerID = &owner
}

func withContact(c common, how entity.Contact) contacted {
	return contacted{
		common: c, Country: given(how.Country), State: given(how.State), City: given(how.City), Address: given(how.Address),
		Address2: given(how.Address2), Zip: given(how.Zip), Phone: given(how.Phone), Email: given(how.Email),
	}
}

func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func info(text json.RawMessage) json.RawMessage {
	if len(text) == 0 {
		return json.RawMessage("null")
	}
	return text
}

// Field returns the value at a dotted path of a view; ok is false if there is none. A null is a value.
func Field(view *object.Object, path string) (value jsontext.Value, ok bool) {
	name, rest, nested := strings.Cut(path, ".")
	value, ok = view.Get(name)
	if !ok || !nested {
		return value, ok
	}
	inner, err := object.Parse(string(value))
	if err != nil {
		return nil, false
	}
	return Field(inner, rest)
}
