package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/maypok86/otter/v2"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Passwords hashes and checks passwords, as password.Hasher does; fault.Limited when too many wait.
type Passwords interface {
	Hash(ctx context.Context, password string) (string, error)
	Verify(ctx context.Context, password, hash string) (bool, error)
	// VerifyNobody takes as long as Verify.
	VerifyNobody(ctx context.Context, password string) error
}

// Options is what Accounts works with; all are required but Now and Log.
type Options struct {
	Users     *entity.UserRegistry
	Passwords Passwords
	Sessions  storage.Entities // where ended sessions are marked
	Key       []byte           // from LoadKey
	Settings  Settings
	Now       func() time.Time
	Log       *slog.Logger
}

// Accounts logs people in and knows them again. Safe for concurrent use.
type Accounts struct {
	users     *entity.UserRegistry
	passwords Passwords
	sessions  *sessions
	tokens    *tokens
	settings  Settings
	now       func() time.Time
	log       *slog.Logger
	// notBefore remembers, by user, before when tokens are refused.
	notBefore *otter.Cache[ident.ID, int64]
}

// New returns Accounts over o.
func New(o Options) *Accounts {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Accounts{
		users: o.Users, passwords: o.Passwords, settings: o.Settings, now: o.Now, log: o.Log,
		sessions: newSessions(o.Sessions, o.Settings, o.Now),
		tokens:   newTokens(o.Key, o.Settings, o.Now),
		notBefore: otter.Must(&otter.Options[ident.ID, int64]{
			MaximumSize:      o.Settings.CacheEntries,
			ExpiryCalculator: otter.ExpiryWriting[ident.ID, int64](o.Settings.CacheTTL),
		}),
	}
}

// Run deletes the marks of sessions long ended, now and then, until ctx ends. Accounts are not
// to be used after: what they remember is no longer looked after.
func (a *Accounts) Run(ctx context.Context) error {
	defer a.notBefore.StopAllGoroutines()
	defer a.sessions.ended.StopAllGoroutines()
	defer a.tokens.known.StopAllGoroutines()
	const every = time.Hour
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := a.sessions.sweep(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("sweep ended sessions", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Authenticate returns who an access token speaks for.
func (a *Accounts) Authenticate(ctx context.Context, token string) (Principal, error) {
	p, err := a.tokens.parse(token)
	if err != nil {
		return Principal{}, err
	}
	if p.refresh {
		return Principal{}, wrongKind()
	}
	return p.Principal, a.current(ctx, p)
}

// current refuses tokens of ended sessions, of users who are gone, and those dated before what the user's tokens must be.
func (a *Accounts) current(ctx context.Context, p parsed) error {
	ended, err := a.sessions.hasEnded(ctx, p.Session)
	if err != nil {
		return err
	}
	if ended {
		return unauthenticated("Token is outdated", ErrRevoked)
	}
	earliest, err := a.notBefore.Get(ctx, p.User, otter.LoaderFunc[ident.ID, int64](func(ctx context.Context, id ident.ID) (int64, error) {
		c, err := a.users.Credentials(ctx, p.Tenant, id)
		return c.TokensNotBefore, err
	}))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return unauthenticated("Token is outdated", ErrRevoked)
	case err != nil:
		return fmt.Errorf("look up user: %w", err)
	case p.issuedAt < earliest:
		return unauthenticated("Token is outdated", ErrRevoked)
	}
	return nil
}

// Forget drops what is remembered of a user; call it after the user changed or went.
func (a *Accounts) Forget(user ident.ID) { a.notBefore.Invalidate(user) }

// ForgetAll drops what is remembered of all users and sessions.
func (a *Accounts) ForgetAll() {
	a.notBefore.InvalidateAll()
	a.sessions.ended.InvalidateAll()
}

// Login checks a password. Unknown users and wrong passwords get the same answer after the same time.
func (a *Accounts) Login(ctx context.Context, email, password string) (Pair, error) {
	if email == "" || password == "" {
		return Pair{}, badCredentials()
	}
	u, c, err := a.users.ByEmail(ctx, email)
	if errors.Is(err, storage.ErrNotFound) || err == nil && c.PasswordHash == "" {
		if err := a.passwords.VerifyNobody(ctx, password); err != nil {
			return Pair{}, fmt.Errorf("check password: %w", err)
		}
		return Pair{}, badCredentials()
	}
	if err != nil {
		return Pair{}, fmt.Errorf("look up user: %w", err)
	}
	right, err := a.passwords.Verify(ctx, password, c.PasswordHash)
	switch {
	case err != nil:
		return Pair{}, fmt.Errorf("check password: %w", err)
	case !right:
		return Pair{}, a.countFailure(ctx, u)
	case !c.Enabled:
		return Pair{}, fault.New(fault.Unauthenticated, "User account is not active")
	}
	_, err = a.users.ChangeCredentials(ctx, u.Tenant, u.ID, func(c *entity.UserCredentials) error {
		c.FailedLogins, c.LastLogin = 0, a.now().UnixMilli()
		return nil
	})
	if err != nil {
		// Knowing when somebody logged in last is not worth refusing the login.
		a.log.Warn("record login", "user_id", u.ID.String(), "err", err)
	}
	return a.tokens.issue(u, true, c.TokensNotBefore)
}

func badCredentials() error { return fault.New(fault.Unauthenticated, "Invalid username or password") }

// countFailure counts a wrong password, locks the user at one more than the setting allows, and returns the answer.
func (a *Accounts) countFailure(ctx context.Context, u entity.User) error {
	if a.settings.MaxFailedLogins <= 0 {
		return badCredentials()
	}
	c, err := a.users.ChangeCredentials(ctx, u.Tenant, u.ID, func(c *entity.UserCredentials) error {
		c.FailedLogins++
		if c.FailedLogins > a.settings.MaxFailedLogins {
			c.Enabled, c.TokensNotBefore = false, nextSecond(a.now())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count failed login: %w", err)
	}
	if c.FailedLogins <= a.settings.MaxFailedLogins {
		return badCredentials()
	}
	a.Forget(u.ID)
	return fault.New(fault.Unauthenticated, "User account is locked due to security policy")
}

// Refresh exchanges a refresh token for a pair of a new session.
func (a *Accounts) Refresh(ctx context.Context, token string) (Pair, error) {
	if token == "" {
		return Pair{}, fault.New(fault.Unauthenticated, "Refresh token is missing")
	}
	p, err := a.tokens.parse(token)
	if err != nil {
		return Pair{}, err
	}
	if !p.refresh {
		return Pair{}, wrongKind()
	}
	if err := a.current(ctx, p); err != nil {
		return Pair{}, err
	}
	u, c, err := a.user(ctx, p.Tenant, p.User)
	if err != nil {
		return Pair{}, err
	}
	if !c.Enabled {
		return Pair{}, fault.New(fault.Unauthenticated, "User account is not active")
	}
	return a.tokens.issue(u, true, c.TokensNotBefore)
}

// PairFor returns tokens that act as a user, whether activated or not. The caller decided that this is allowed.
func (a *Accounts) PairFor(ctx context.Context, tenant ident.TenantID, user ident.ID) (Pair, error) {
	u, c, err := a.user(ctx, tenant, user)
	if err != nil {
		return Pair{}, err
	}
	return a.tokens.issue(u, c.Enabled, c.TokensNotBefore)
}

func (a *Accounts) user(ctx context.Context, tenant ident.TenantID, id ident.ID) (entity.User, entity.UserCredentials, error) {
	u, err := a.users.Get(ctx, tenant, id)
	if err != nil {
		return entity.User{}, entity.UserCredentials{}, fmt.Errorf("read user: %w", err)
	}
	c, err := a.users.Credentials(ctx, tenant, id)
	if err != nil {
		return entity.User{}, entity.UserCredentials{}, fmt.Errorf("read user's credentials: %w", err)
	}
	return u, c, nil
}

// Logout ends p's session.
func (a *Accounts) Logout(ctx context.Context, p Principal) error {
	return a.sessions.end(ctx, p.Session)
}

// ChangePassword sets p's own password and returns new tokens; all older ones are refused.
func (a *Accounts) ChangePassword(ctx context.Context, p Principal, current, next string) (Pair, error) {
	u, c, err := a.user(ctx, p.Tenant, p.User)
	if err != nil {
		return Pair{}, err
	}
	right, err := a.passwords.Verify(ctx, current, c.PasswordHash)
	switch {
	case err != nil:
		return Pair{}, fmt.Errorf("check password: %w", err)
	case !right:
		return Pair{}, fault.New(fault.Invalid, "Current password doesn't match!")
	case current == next:
		return Pair{}, fault.New(fault.Invalid, "New password should be different from existing!")
	}
	hash, err := a.hash(ctx, next)
	if err != nil {
		return Pair{}, err
	}
	return a.setPassword(ctx, u, func(c *entity.UserCredentials) error {
		c.PasswordHash = hash
		return nil
	})
}

// Activate gives a new user the first password and returns the first tokens.
func (a *Accounts) Activate(ctx context.Context, token, password string) (Pair, error) {
	u, c, err := a.users.ByActivationToken(ctx, token)
	if token == "" || errors.Is(err, storage.ErrNotFound) {
		return Pair{}, fault.New(fault.Invalid, "Unable to find user credentials by activateToken!")
	}
	if err != nil {
		return Pair{}, fmt.Errorf("look up activation: %w", err)
	}
	if c.ActivationExpires <= a.now().UnixMilli() {
		return Pair{}, fault.New(fault.Invalid, "Activation token expired!")
	}
	hash, err := a.hash(ctx, password)
	if err != nil {
		return Pair{}, err
	}
	return a.setPassword(ctx, u, func(c *entity.UserCredentials) error {
		if c.ActivationToken != token {
			return fault.New(fault.Invalid, "Activation token was used already!")
		}
		c.PasswordHash, c.Enabled, c.ActivationToken, c.ActivationExpires = hash, true, "", 0
		return nil
	})
}

// CheckActivation returns an error of kind NotFound for an unknown token, and whether a known one still works.
func (a *Accounts) CheckActivation(ctx context.Context, token string) (works bool, err error) {
	_, c, err := a.users.ByActivationToken(ctx, token)
	if err != nil {
		return false, fmt.Errorf("look up activation: %w", err)
	}
	return c.ActivationExpires > a.now().UnixMilli(), nil
}

// SetEnabled lets a user log in or not; not also revokes what tokens there are.
func (a *Accounts) SetEnabled(ctx context.Context, tenant ident.TenantID, user ident.ID, enabled bool) error {
	_, err := a.users.ChangeCredentials(ctx, tenant, user, func(c *entity.UserCredentials) error {
		if enabled && c.PasswordHash == "" {
			return fault.New(fault.Invalid, "User is not activated yet!")
		}
		c.Enabled = enabled
		c.FailedLogins = 0
		if !enabled {
			c.TokensNotBefore = nextSecond(a.now())
		}
		return nil
	})
	a.Forget(user)
	if err != nil {
		return fmt.Errorf("change user's credentials: %w", err)
	}
	return nil
}

func (a *Accounts) hash(ctx context.Context, password string) (string, error) {
	n := utf8.RuneCountInString(password)
	if n < a.settings.MinPassword {
		return "", fault.New(fault.Invalid, fmt.Sprintf("password: must be %d or more characters in length", a.settings.MinPassword))
	}
	if n > a.settings.MaxPassword {
		return "", fault.New(fault.Invalid, fmt.Sprintf("password: must be no more than %d characters in length", a.settings.MaxPassword))
	}
	hash, err := a.passwords.Hash(ctx, password)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

// setPassword applies change, revokes all tokens so far and returns new ones.
func (a *Accounts) setPassword(ctx context.Context, u entity.User, change func(*entity.UserCredentials) error) (Pair, error) {
	c, err := a.users.ChangeCredentials(ctx, u.Tenant, u.ID, func(c *entity.UserCredentials) error {
		if err := change(c); err != nil {
			return err
		}
		now := a.now()
		c.PasswordChanged, c.TokensNotBefore, c.FailedLogins = now.UnixMilli(), nextSecond(now), 0
		return nil
	})
	if err != nil {
		return Pair{}, fmt.Errorf("store password: %w", err)
	}
	a.Forget(u.ID)
	return a.tokens.issue(u, c.Enabled, c.TokensNotBefore)
}

// PasswordLength returns how few and how many characters a password may have.
func (a *Accounts) PasswordLength() (least, most int) {
	return a.settings.MinPassword, a.settings.MaxPassword
}
