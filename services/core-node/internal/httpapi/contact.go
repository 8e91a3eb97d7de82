package httpapi

import (
	"bytes"
	"encoding/json"

	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// contact is how to reach a tenant or customer, as JSON; empty fields are null.
type contact struct {
	Country  *string `json:"country"`
	State    *string `json:"state"`
	City     *string `json:"city"`
	Address  *string `json:"address"`
	Address2 *string `json:"address2"`
	Zip      *string `json:"zip"`
	Phone    *string `json:"phone"`
	Email    *string `json:"email"`
}

func contactView(c entity.Contact) contact {
	return contact{
		Country: orNull(c.Country), State: orNull(c.State), City: orNull(c.City), Address: orNull(c.Address),
		Address2: orNull(c.Address2), Zip: orNull(c.Zip), Phone: orNull(c.Phone), Email: orNull(c.Email),
	}
}

func (c contact) read() (entity.Contact, error) {
	out := entity.Contact{
		Country: orEmpty(c.Country), State: orEmpty(c.State), City: orEmpty(c.City), Address: orEmpty(c.Address),
		Address2: orEmpty(c.Address2), Zip: orEmpty(c.Zip), Phone: orEmpty(c.Phone), Email: orEmpty(c.Email),
	}
	return out, checkTexts("country", out.Country, "state", out.State, "city", out.City, "address", out.Address,
		"address2", out.Address2, "zip", out.Zip, "phone", out.Phone, "email", out.Email)
}

// orNull shows an empty text as null.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func orZero(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// object reads a free JSON object; null and nothing are none.
func object(field string, body json.RawMessage) (json.RawMessage, error) {
	trimmed := bytes.TrimSpace(body)
	if none(trimmed) {
		return nil, nil
	}
	if trimmed[0] != '{' {
		return nil, invalid(field, "must be an object")
	}
	return trimmed, nil
}

// none reports whether there is no value: entities that were stored without one come back with null.
func none(body json.RawMessage) bool { return len(body) == 0 || string(body) == "null" }

// objectView shows what is none as null.
func objectView(body json.RawMessage) json.RawMessage {
	if none(body) {
		return json.RawMessage("null")
	}
	return body
}
