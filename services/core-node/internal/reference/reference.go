// Package reference is how the REST API and rule messages write the ids of entities:
// {"entityType":"DEVICE","id":"…"}.
package reference

import (
	"encoding/json"
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// NullID is how "none" is written.
const NullID = "13814000-1dd2-11b2-8080-808080808080"

// Entity is an entity's id as JSON; the zero id is written as NullID and read from it.
type Entity struct{ ident.EntityID }

// Of returns the reference to an entity of a kind.
func Of(kind ident.EntityType, id ident.ID) Entity {
	return Entity{ident.EntityID{Type: kind, ID: id}}
}

// Optional is Of, or nil, written as null, for the zero id.
func Optional(kind ident.EntityType, id ident.ID) *Entity {
	if id.IsZero() {
		return nil
	}
	e := Of(kind, id)
	return &e
}

// Text returns id as it is written.
func Text(id ident.ID) string {
	if id.IsZero() {
		return NullID
	}
	return id.String()
}

// Type reads an entity type by its name; the error is fault.Invalid.
func Type(name string) (ident.EntityType, error) {
	n, ok := sluicepb.EntityType_value[name]
	if !ok || n == 0 || ident.EntityType(n) == ident.UserSession || ident.EntityType(n) == ident.AdminSettings {
		return 0, fault.New(fault.Invalid, fmt.Sprintf("entityType: %q is unknown", name))
	}
	return ident.EntityType(n), nil
}

type body struct {
	EntityType string `json:"entityType"`
	ID         string `json:"id"`
}

// MarshalJSON implements json.Marshaler.
func (e Entity) MarshalJSON() ([]byte, error) {
	return json.Marshal(body{e.Type.String(), Text(e.ID)})
}

// UnmarshalJSON implements json.Unmarshaler; both fields are needed. The errors are fault.Invalid.
func (e *Entity) UnmarshalJSON(text []byte) error {
	var b body
	if err := json.Unmarshal(text, &b); err != nil {
		return fault.Wrap(fault.Invalid, "an entity id must be an object of entityType and id", err)
	}
	kind, err := Type(b.EntityType)
	if err != nil {
		return err
	}
	e.Type = kind
	if b.ID == NullID {
		e.ID = ident.ID{}
		return nil
	}
	if e.ID, err = ident.Parse(b.ID); err != nil {
		return fault.Wrap(fault.Invalid, "id: "+err.Error(), err)
	}
	return nil
}
