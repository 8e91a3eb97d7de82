package entity

import (
	"context"
	"encoding/json"
	"errors"
	"net/mail"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Authority is what a user may do, under the names of the REST API.
type Authority string

// The authorities.
const (
	SysAdmin     Authority = "SYS_ADMIN"
	TenantAdmin  Authority = "TENANT_ADMIN"
	CustomerUser Authority = "CUSTOMER_USER"
)

// User is a person who logs in. A system administrator's Tenant is zero.
type User struct {
	ID             ident.ID
	Tenant         ident.TenantID
	Customer       ident.CustomerID // of a CustomerUser
	Email          string
	Authority      Authority
	FirstName      string
	LastName       string
	Phone          string
	AdditionalInfo json.RawMessage
	CreatedTime    int64
	Version        int64
}

// UserCredentials is how a user proves to be one. Times are ms since the epoch, 0 for never.
type UserCredentials struct {
	Enabled           bool
	PasswordHash      string // by package password; "" until the user is activated
	PasswordChanged   int64
	ActivationToken   string // "" once used
	ActivationExpires int64
	ResetToken        string
	ResetExpires      int64
	TokensNotBefore   int64 // access and refresh tokens issued before are refused
	FailedLogins      int
	LastLogin         int64
}

// storedUser is a user with the credentials, in one document; User.Version counts saves of the user alone.
type storedUser struct {
	User        User
	Credentials UserCredentials
}

func (s *storedUser) row() row {
	u := s.User
	return row{id: u.ID, customer: u.Customer.ID, created: u.CreatedTime, name: u.Email, label: u.FirstName, extra: u.LastName, kind: string(u.Authority)}
}

func (s *storedUser) setVersion(int64) {}

func (s *storedUser) document() storage.Document {
	id := ident.EntityID{Type: ident.User, ID: s.User.ID}
	claims := []string{idClaim(id), emailClaim(s.User.Email)}
	if token := s.Credentials.ActivationToken; token != "" {
		claims = append(claims, activationClaim(token))
	}
	if token := s.Credentials.ResetToken; token != "" {
		claims = append(claims, resetClaim(token))
	}
	return storage.Document{Tenant: s.User.Tenant, ID: id, Claims: claims}
}

func emailClaim(email string) string      { return "user-email/" + email }
func activationClaim(token string) string { return "activation/" + token }
func resetClaim(token string) string      { return "password-reset/" + token }

const linkTokenLength = 30

// UserRegistry keeps the users and what they log in with.
type UserRegistry struct {
	all   *Registry
	users repository[storedUser, *storedUser]
}

// Create stores a user under an e-mail address new to the platform. The user cannot log in
// before being activated with the credentials' ActivationToken.
func (r *UserRegistry) Create(ctx context.Context, u User) (User, error) {
	now := r.all.nowMillis()
	return r.create(ctx, u, UserCredentials{ActivationToken: randomText(linkTokenLength), ActivationExpires: now + r.all.options.ActivationTTL.Milliseconds()})
}

// CreateActive stores a user who can log in at once with the password hashed.
func (r *UserRegistry) CreateActive(ctx context.Context, u User, passwordHash string) (User, error) {
	return r.create(ctx, u, UserCredentials{Enabled: true, PasswordHash: passwordHash, PasswordChanged: r.all.nowMillis()})
}

func (r *UserRegistry) create(ctx context.Context, u User, c UserCredentials) (User, error) {
	if err := r.check(ctx, u); err != nil {
		return User{}, err
	}
	admitted, err := r.all.limits.admit(ctx, u.Tenant, ident.User)
	if err != nil {
		return User{}, err
	}
	defer admitted()
	u.ID, u.CreatedTime, u.Version = ident.New(), r.all.nowMillis(), 1
	created, err := r.users.create(ctx, storedUser{u, c})
	return created.User, emailTaken(err, u.Email)
}

func emailTaken(err error, email string) error {
	return taken(err, "User with email '"+email+"'  already present in database!")
}

func (r *UserRegistry) check(ctx context.Context, u User) error {
	if address, err := mail.ParseAddress(u.Email); err != nil || address.Address != u.Email || len(u.Email) > maxName {
		return fault.New(fault.Invalid, "Invalid email address format '"+u.Email+"'!")
	}
	for field, text := range map[string]string{"firstName": u.FirstName, "lastName": u.LastName, "phone": u.Phone} {
		if len([]rune(text)) > maxName {
			return fault.New(fault.Invalid, field+" length must be equal or less than 255")
		}
	}
	switch u.Authority {
	case SysAdmin:
		if !u.Tenant.IsZero() || !u.Customer.IsZero() {
			return fault.New(fault.Invalid, "System administrator can't be assigned neither to tenant nor to customer!")
		}
	case TenantAdmin:
		if u.Tenant.IsZero() || !u.Customer.IsZero() {
			return fault.New(fault.Invalid, "Tenant administrator should be assigned to tenant and to no customer!")
		}
	case CustomerUser:
		if u.Tenant.IsZero() || u.Customer.IsZero() {
			return fault.New(fault.Invalid, "Customer user should be assigned to customer!")
		}
	default:
		return fault.New(fault.Invalid, "User authority isn't defined!")
	}
	return r.checkPlace(ctx, u)
}

// checkPlace makes sure that the user's tenant and customer are there.
func (r *UserRegistry) checkPlace(ctx context.Context, u User) error {
	if !u.Tenant.IsZero() {
		if _, err := r.all.Tenants.Get(ctx, u.Tenant); errors.Is(err, storage.ErrNotFound) {
			return fault.Wrap(fault.Invalid, "User is referencing to non-existent tenant!", err)
		} else if err != nil {
			return err
		}
	}
	if !u.Customer.IsZero() {
		if _, err := r.all.Customers.Get(ctx, u.Tenant, u.Customer); errors.Is(err, storage.ErrNotFound) {
			return fault.Wrap(fault.Invalid, "User is referencing to non-existent customer!", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// Get returns a tenant's user; the zero tenant's are the system administrators.
func (r *UserRegistry) Get(ctx context.Context, tenant ident.TenantID, id ident.ID) (User, error) {
	s, err := r.users.get(ctx, tenant, id)
	return s.User, err
}

// Credentials returns what a user logs in with.
func (r *UserRegistry) Credentials(ctx context.Context, tenant ident.TenantID, id ident.ID) (UserCredentials, error) {
	s, err := r.users.get(ctx, tenant, id)
	return s.Credentials, err
}

// ByEmail finds a user, over all tenants, for logging in.
func (r *UserRegistry) ByEmail(ctx context.Context, email string) (User, UserCredentials, error) {
	s, err := r.users.byClaim(ctx, emailClaim(email))
	return s.User, s.Credentials, err
}

// ByActivationToken finds the user an activation link is for. Whether it expired is for the caller to see.
func (r *UserRegistry) ByActivationToken(ctx context.Context, token string) (User, UserCredentials, error) {
	s, err := r.users.byClaim(ctx, activationClaim(token))
	return s.User, s.Credentials, err
}

// ByResetToken finds the user a password reset link is for. Whether it expired is for the caller to see.
func (r *UserRegistry) ByResetToken(ctx context.Context, token string) (User, UserCredentials, error) {
	s, err := r.users.byClaim(ctx, resetClaim(token))
	return s.User, s.Credentials, err
}

// Update saves u; Version 0 overwrites. Authority, tenant and customer stay as they were.
func (r *UserRegistry) Update(ctx context.Context, u User) (User, error) {
	current, err := r.Get(ctx, u.Tenant, u.ID)
	if err != nil {
		return User{}, err
	}
	u.Authority, u.Customer, u.CreatedTime = current.Authority, current.Customer, current.CreatedTime
	if err := r.check(ctx, u); err != nil {
		return User{}, err
	}
	s, err := r.users.announceUpdate(ctx, u.Tenant, u.ID, func(s *storedUser) error {
		version := s.User.Version
		s.User = u
		s.User.Version = version + 1
		return nil
	}, func(s *storedUser) bool { return u.Version == 0 || s.User.Version == u.Version }, nil)
	return s.User, emailTaken(err, u.Email)
}

// ChangeCredentials applies change to a user's credentials, and again from what is stored then
// when somebody else was faster; an error of change is returned and nothing stored.
func (r *UserRegistry) ChangeCredentials(ctx context.Context, tenant ident.TenantID, id ident.ID, change func(*UserCredentials) error) (UserCredentials, error) {
	s, err := r.users.update(ctx, tenant, id, 0, func(s *storedUser) error {
		before := s.Credentials
		if err := change(&s.Credentials); err != nil {
			return err
		}
		if s.Credentials == before {
			return errUnchanged
		}
		return nil
	})
	return s.Credentials, err
}

// NewActivation gives a user who is not activated yet a new activation token, unless the one
// there is still works. fault.Invalid when the user is active already.
func (r *UserRegistry) NewActivation(ctx context.Context, tenant ident.TenantID, id ident.ID) (UserCredentials, error) {
	now := r.all.nowMillis()
	return r.ChangeCredentials(ctx, tenant, id, func(c *UserCredentials) error {
		if c.Enabled || c.PasswordHash != "" {
			return fault.New(fault.Invalid, "User is already activated!")
		}
		if c.ActivationToken == "" || c.ActivationExpires <= now {
			c.ActivationToken, c.ActivationExpires = randomText(linkTokenLength), now+r.all.options.ActivationTTL.Milliseconds()
		}
		return nil
	})
}

// Delete removes a user; a tenant keeps its last administrator.
func (r *UserRegistry) Delete(ctx context.Context, tenant ident.TenantID, id ident.ID) error {
	u, err := r.Get(ctx, tenant, id)
	if err != nil {
		return err
	}
	if u.Authority == TenantAdmin {
		admins, err := r.List(ctx, tenant, UserFilter{Authority: TenantAdmin}, PageRequest{Size: 1})
		if err != nil {
			return err
		}
		if admins.Total == 1 {
			return fault.New(fault.Invalid, "At least one tenant administrator must remain!")
		}
	}
	return r.users.announceDelete(ctx, tenant, id, &sluicepb.EntityEvent{})
}

func (r *UserRegistry) deleteAll(ctx context.Context, tenant ident.TenantID) error {
	return r.users.deleteAll(ctx, tenant)
}

func (r *UserRegistry) deleteOf(ctx context.Context, tenant ident.TenantID, customer ident.CustomerID) error {
	return r.users.each(ctx, tenant, func(s storedUser) error {
		if s.User.Customer != customer {
			return nil
		}
		return ignoreMissing(r.users.delete(ctx, tenant, s.User.ID))
	})
}

// UserFilter narrows a list of users; zero fields do not.
type UserFilter struct {
	Customer  ident.CustomerID
	Authority Authority
}

func (f UserFilter) keep(e row) bool {
	return (f.Customer.IsZero() || e.customer == f.Customer.ID) && (f.Authority == "" || e.kind == string(f.Authority))
}

var userOrder = order{"id": byID, "createdTime": byCreated, "email": byName, "name": byName, "firstName": byLabel, "lastName": byExtra, "authority": byKind}

// List pages through a tenant's users; Search looks into e-mail addresses.
func (r *UserRegistry) List(ctx context.Context, tenant ident.TenantID, f UserFilter, page PageRequest) (Page[User], error) {
	found, err := r.users.list(ctx, tenant, f.keep, page, userOrder)
	if err != nil {
		return Page[User]{}, err
	}
	users := Page[User]{Items: make([]User, len(found.Items)), Total: found.Total}
	for i, s := range found.Items {
		users.Items[i] = s.User
	}
	return users, nil
}
