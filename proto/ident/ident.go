// Package ident holds the ids that cross process boundaries. An id is a 16-byte UUID; its
// text form is the usual one of 36 lower-case characters. Ids are values: copy them freely.
package ident

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
)

// ID is a UUID. The zero ID means "none".
type ID [16]byte

// New returns a new time-ordered ID (UUIDv7).
func New() ID { return ID(uuid.Must(uuid.NewV7())) }

// Derive returns the ID that follows from parent and name (UUIDv5): the same whenever it is asked for.
func Derive(parent ID, name string) ID { return ID(uuid.NewSHA1(uuid.UUID(parent), []byte(name))) }

// Parse reads the text form.
func Parse(text string) (ID, error) {
	if len(text) != 36 {
		return ID{}, fmt.Errorf("id %q is not a UUID", text)
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return ID{}, fmt.Errorf("id %q is not a UUID", text)
	}
	return ID(id), nil
}

// FromBytes reads 16 bytes; none at all is the zero ID.
func FromBytes(b []byte) (ID, error) {
	if len(b) == 0 {
		return ID{}, nil
	}
	if len(b) != 16 {
		return ID{}, fmt.Errorf("id of %d bytes, want 16", len(b))
	}
	return ID(b), nil
}

func (id ID) String() string { return uuid.UUID(id).String() }

// IsZero reports whether id means "none".
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText writes the text form.
func (id ID) MarshalText() ([]byte, error) { return uuid.UUID(id).MarshalText() }

// UnmarshalText reads the text form.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// TenantID names a tenant. Everything stored belongs to exactly one.
type TenantID struct{ ID }

// DeviceID names a device.
type DeviceID struct{ ID }

// CustomerID names a customer.
type CustomerID struct{ ID }

// EntityType says what an ID names; its numbers are those on the wire.
type EntityType = sluicepb.EntityType

// The entity types there are so far.
const (
	Tenant        = sluicepb.EntityType_TENANT
	Customer      = sluicepb.EntityType_CUSTOMER
	User          = sluicepb.EntityType_USER
	Device        = sluicepb.EntityType_DEVICE
	DeviceProfile = sluicepb.EntityType_DEVICE_PROFILE
	RuleChain     = sluicepb.EntityType_RULE_CHAIN
	TenantProfile = sluicepb.EntityType_TENANT_PROFILE
	Asset         = sluicepb.EntityType_ASSET
	AssetProfile  = sluicepb.EntityType_ASSET_PROFILE
	RuleNode      = sluicepb.EntityType_RULE_NODE
	Alarm         = sluicepb.EntityType_ALARM
	OTAPackage    = sluicepb.EntityType_OTA_PACKAGE
	AdminSettings = sluicepb.EntityType_ADMIN_SETTINGS
	UserSession   = sluicepb.EntityType_USER_SESSION
)

// EntityID names any entity.
type EntityID struct {
	Type EntityType
	ID   ID
}

func (e EntityID) String() string { return e.Type.String() + " " + e.ID.String() }

// Entity returns the device's id as that of an entity.
func (d DeviceID) Entity() EntityID { return EntityID{Device, d.ID} }

// Entity returns the tenant's id as that of an entity.
func (t TenantID) Entity() EntityID { return EntityID{Tenant, t.ID} }

// Entity returns the customer's id as that of an entity.
func (c CustomerID) Entity() EntityID { return EntityID{Customer, c.ID} }
