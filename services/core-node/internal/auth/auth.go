// Package auth says who asks and what they may touch. People log in with a password and get a
// pair of tokens (JWT, HS512); an access token names its user, tenant and authority, and works
// until it expires, its session ends, or its user's tokens are revoked. What a principal may
// do with an entity is decided in one place, Guard, for REST and WebSocket alike.
package auth

import (
	"errors"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/reference"
)

// Errors of tokens and logins, wrapped in a fault.Unauthenticated. Compare with errors.Is.
var (
	// ErrExpired: the token was good, or is signed with another key: ask for a new one.
	ErrExpired = errors.New("auth: token expired")
	// ErrRevoked: the token's session ended, or all tokens of its user were revoked.
	ErrRevoked = errors.New("auth: token revoked")
)

// NullID is how the API writes "none".
const NullID = reference.NullID

// IDText returns id as the API writes it: the zero ID as NullID.
func IDText(id ident.ID) string {
	if id.IsZero() {
		return NullID
	}
	return id.String()
}

// ParseID is IDText's inverse.
func ParseID(text string) (ident.ID, error) {
	if text == NullID {
		return ident.ID{}, nil
	}
	return ident.Parse(text)
}

// Principal is who asks, as an access token says.
type Principal struct {
	User      ident.ID
	Email     string
	Authority entity.Authority
	Tenant    ident.TenantID   // zero for a system administrator
	Customer  ident.CustomerID // zero but for a customer's user
	Session   ident.ID
}

// Is reports whether p has one of the authorities.
func (p Principal) Is(any ...entity.Authority) bool {
	for _, a := range any {
		if p.Authority == a {
			return true
		}
	}
	return false
}

// Pair is what a login returns.
type Pair struct {
	Token        string `json:"token"`
	RefreshToken string `json:"refreshToken"`
}

// Denied is the answer to whoever may not do what they ask for.
func Denied() error {
	return fault.New(fault.Denied, "You don't have permission to perform this operation!")
}

func unauthenticated(message string, cause error) error {
	return fault.Wrap(fault.Unauthenticated, message, cause)
}
