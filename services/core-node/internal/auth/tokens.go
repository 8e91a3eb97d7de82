package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/maypok86/otter/v2"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

const refreshScope = "REFRESH_TOKEN"

// claims are those of both kinds of token (rest-api §1.3); a refresh token leaves out whom the user belongs to.
type claims struct {
	jwt.RegisteredClaims
	UserID     string   `json:"userId"`
	Scopes     []string `json:"scopes"`
	SessionID  string   `json:"sessionId"`
	FirstName  string   `json:"firstName,omitempty"`
	LastName   string   `json:"lastName,omitempty"`
	Enabled    bool     `json:"enabled,omitempty"`
	IsPublic   bool     `json:"isPublic"`
	TenantID   string   `json:"tenantId,omitempty"`
	CustomerID string   `json:"customerId,omitempty"`
}

// tokens makes and reads tokens.
type tokens struct {
	key      []byte
	settings Settings
	now      func() time.Time
	parser   *jwt.Parser
	// known are tokens that were parsed, as people send theirs with every request: what is in one never changes, but for the
	// time it is good for.
	known *otter.Cache[string, parsed]
}

func newTokens(key []byte, settings Settings, now func() time.Time) *tokens {
	return &tokens{key: key, settings: settings, now: now, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS512.Alg()}), jwt.WithTimeFunc(now), jwt.WithExpirationRequired(),
		jwt.WithIssuer(settings.Issuer),
	), known: otter.Must(&otter.Options[string, parsed]{
		MaximumSize:      settings.CacheEntries,
		ExpiryCalculator: otter.ExpiryAccessing[string, parsed](settings.CacheTTL),
	})}
}

// issue makes a pair of a new session. No token is dated before notBefore (ms).
func (t *tokens) issue(u entity.User, enabled bool, notBefore int64) (Pair, error) {
	at := t.now().Truncate(time.Second)
	if earliest := time.UnixMilli(notBefore); at.Before(earliest) {
		at = earliest
	}
	session := ident.New().String()
	registered := func(ttl time.Duration, id string) jwt.RegisteredClaims {
		return jwt.RegisteredClaims{
			Subject: u.Email, Issuer: t.settings.Issuer, ID: id,
			IssuedAt: jwt.NewNumericDate(at), ExpiresAt: jwt.NewNumericDate(at.Add(ttl)),
		}
	}
	access, err := t.sign(claims{
		RegisteredClaims: registered(t.settings.AccessTTL, ""),
		UserID:           u.ID.String(), Scopes: []string{string(u.Authority)}, SessionID: session,
		FirstName: u.FirstName, LastName: u.LastName, Enabled: enabled,
		TenantID: IDText(u.Tenant.ID), CustomerID: IDText(u.Customer.ID),
	})
	if err != nil {
		return Pair{}, err
	}
	// The refresh token names the tenant too: it is where its user is looked up.
	refresh, err := t.sign(claims{
		RegisteredClaims: registered(t.settings.RefreshTTL, ident.New().String()),
		UserID:           u.ID.String(), Scopes: []string{refreshScope}, SessionID: session, TenantID: IDText(u.Tenant.ID),
	})
	return Pair{Token: access, RefreshToken: refresh}, err
}

func (t *tokens) sign(c claims) (string, error) {
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS512, c).SignedString(t.key)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return text, nil
}

// parsed is a token that is signed by us and has not expired.
type parsed struct {
	Principal
	refresh  bool
	issuedAt int64 // ms
	expires  time.Time
}

func (t *tokens) parse(text string) (parsed, error) {
	if p, ok := t.known.GetIfPresent(text); ok && t.now().Before(p.expires) {
		return p, nil
	}
	p, err := t.verify(text)
	if err == nil && len(text) <= longestKept {
		t.known.Set(strings.Clone(text), p) // text is a part of its request's head
	}
	return p, err
}

// longestKept bounds what one token takes up in memory; those of ours are half as long.
const longestKept = 1 << 10

func (t *tokens) verify(text string) (parsed, error) {
	var c claims
	_, err := t.parser.ParseWithClaims(text, &c, func(*jwt.Token) (any, error) { return t.key, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return parsed{}, unauthenticated("Token has expired", fmt.Errorf("%w: %w", ErrExpired, err))
	case err != nil:
		return parsed{}, unauthenticated("Invalid token", err)
	}
	p, err := c.read()
	if err != nil {
		return parsed{}, unauthenticated("Invalid token", err)
	}
	return p, nil
}

func (c *claims) read() (parsed, error) {
	if len(c.Scopes) != 1 || c.IssuedAt == nil {
		return parsed{}, errors.New("scopes or iat is missing")
	}
	var p parsed
	for text, id := range map[string]*ident.ID{c.UserID: &p.User, c.SessionID: &p.Session} {
		parsedID, err := ident.Parse(text)
		if err != nil {
			return parsed{}, fmt.Errorf("read token: %w", err)
		}
		*id = parsedID
	}
	tenant, err := ParseID(c.TenantID)
	if err != nil {
		return parsed{}, fmt.Errorf("read tenantId: %w", err)
	}
	p.Email, p.Tenant, p.issuedAt, p.expires = c.Subject, ident.TenantID{ID: tenant}, c.IssuedAt.UnixMilli(), c.ExpiresAt.Time
	if c.Scopes[0] == refreshScope {
		p.refresh = true
		return p, nil
	}
	customer, err := ParseID(c.CustomerID)
	if err != nil {
		return parsed{}, fmt.Errorf("read customerId: %w", err)
	}
	p.Customer, p.Authority = ident.CustomerID{ID: customer}, entity.Authority(c.Scopes[0])
	if !p.Is(entity.SysAdmin, entity.TenantAdmin, entity.CustomerUser) {
		return parsed{}, fmt.Errorf("unknown authority %q", c.Scopes[0])
	}
	return p, nil
}

// nextSecond returns ms rounded up: tokens are dated in whole seconds, and all made so far are to be before it.
func nextSecond(now time.Time) int64 { return now.Truncate(time.Second).Add(time.Second).UnixMilli() }

// wrongKind says that a token of one kind was used as the other.
func wrongKind() error { return fault.New(fault.Unauthenticated, "Invalid token") }
