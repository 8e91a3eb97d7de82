package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// userRoutes are those of rest-api §2.2.
func (a *api) userRoutes() []route {
	return []route{
		{"POST", "/api/user", everyone(), a.saveUser},
		{"GET", "/api/user/{userId}", everyone(), a.user},
		{"DELETE", "/api/user/{userId}", admins(), a.deleteUser},
		{"GET", "/api/user/{userId}/activationLink", admins(), a.activationLink},
		{"GET", "/api/user/{userId}/activationLinkInfo", admins(), a.activationLinkInfo},
		{"GET", "/api/user/{userId}/token", admins(), a.userToken},
		{"GET", "/api/user/tokenAccessEnabled", admins(), a.tokenAccessEnabled},
		{"POST", "/api/user/{userId}/userCredentialsEnabled", admins(), a.enableUser},
		{"GET", "/api/users", tenantUsers(), a.listUsers},
		{"GET", "/api/users/list", tenantUsers(), a.usersByID},
		{"GET", "/api/users/info", tenantUsers(), a.listUserInfos},
		{"GET", "/api/tenant/{tenantId}/users", system(), a.listTenantAdmins},
		{"GET", "/api/customer/{customerId}/users", tenants(), a.listCustomerUsers},
	}
}

// userBody is a user as JSON (rest-api §3.5); Name is the e-mail address, read only.
type userBody struct {
	ID             ref              `json:"id"`
	CreatedTime    int64            `json:"createdTime"`
	AdditionalInfo json.RawMessage  `json:"additionalInfo"`
	TenantID       ref              `json:"tenantId"`
	CustomerID     ref              `json:"customerId"`
	Email          string           `json:"email"`
	Authority      entity.Authority `json:"authority"`
	FirstName      *string          `json:"firstName"`
	LastName       *string          `json:"lastName"`
	Phone          *string          `json:"phone"`
	Version        int64            `json:"version"`
	Name           string           `json:"name"`
}

type userInfoBody struct {
	ID        ref     `json:"id"`
	Email     string  `json:"email"`
	FirstName *string `json:"firstName"`
	LastName  *string `json:"lastName"`
}

func userView(u entity.User) userBody {
	return userBody{
		ID: refOf(ident.User, u.ID), CreatedTime: u.CreatedTime, AdditionalInfo: objectView(u.AdditionalInfo),
		TenantID: refOf(ident.Tenant, u.Tenant.ID), CustomerID: refOf(ident.Customer, u.Customer.ID),
		Email: u.Email, Authority: u.Authority, FirstName: orNull(u.FirstName), LastName: orNull(u.LastName), Phone: orNull(u.Phone),
		Version: u.Version, Name: u.Email,
	}
}

func userInfoView(u entity.User) userInfoBody {
	return userInfoBody{refOf(ident.User, u.ID), u.Email, orNull(u.FirstName), orNull(u.LastName)}
}

func (a *api) saveUser(r *http.Request, p auth.Principal) (any, error) {
	u, err := readUser(r, p)
	if err != nil {
		return nil, err
	}
	if !u.ID.IsZero() {
		return a.updateUser(r, p, u)
	}
	mail, err := flagOr(r, "sendActivationMail", true)
	switch {
	case err != nil:
		return nil, err
	case !mayCreate(p, u):
		return nil, auth.Denied()
	case mail:
		return nil, invalid("sendActivationMail", "this server sends no mail: use false, and pass on the link of /api/user/{id}/activationLink")
	}
	created, err := a.Entities.Users.Create(r.Context(), u)
	if err != nil {
		return nil, err
	}
	return userView(created), nil
}

func readUser(r *http.Request, p auth.Principal) (entity.User, error) {
	var in struct {
		ID, TenantID, CustomerID *given
		Email                    string
		Authority                entity.Authority
		FirstName                *string
		LastName                 *string
		Phone                    *string
		AdditionalInfo           json.RawMessage
		Version                  *int64
	}
	if err := decode(r, &in); err != nil {
		return entity.User{}, err
	}
	u := entity.User{
		Email: in.Email, Authority: in.Authority, FirstName: orEmpty(in.FirstName), LastName: orEmpty(in.LastName),
		Phone: orEmpty(in.Phone), Version: orZero(in.Version), Tenant: p.Tenant,
	}
	var err error
	if u.ID, err = in.ID.id("id", ident.User); err != nil {
		return u, err
	}
	if p.Is(entity.SysAdmin) {
		if u.Tenant.ID, err = in.TenantID.id("tenantId", ident.Tenant); err != nil {
			return u, err
		}
	}
	if u.Customer.ID, err = in.CustomerID.id("customerId", ident.Customer); err != nil {
		return u, err
	}
	if u.AdditionalInfo, err = object("additionalInfo", in.AdditionalInfo); err != nil {
		return u, err
	}
	return u, checkTexts("firstName", u.FirstName, "lastName", u.LastName, "phone", u.Phone)
}

// mayCreate: the system's administrators make other administrators, a tenant's make its users.
func mayCreate(p auth.Principal, u entity.User) bool {
	switch p.Authority {
	case entity.SysAdmin:
		return u.Authority != entity.CustomerUser
	case entity.TenantAdmin:
		return u.Authority != entity.SysAdmin
	}
	return false
}

// updateUser saves what people may change of a user; authority, tenant and customer stay.
func (a *api) updateUser(r *http.Request, p auth.Principal, u entity.User) (any, error) {
	stored, err := a.Guard.User(r.Context(), p, u.ID)
	if err != nil {
		return nil, err
	}
	if p.Is(entity.CustomerUser) && stored.ID != p.User {
		return nil, auth.Denied()
	}
	u.Tenant, u.Customer, u.Authority = stored.Tenant, stored.Customer, stored.Authority
	updated, err := a.Entities.Users.Update(r.Context(), u)
	if err != nil {
		return nil, err
	}
	return userView(updated), nil
}

// oneUser returns the user of the path that p may see.
func (a *api) oneUser(r *http.Request, p auth.Principal) (entity.User, error) {
	id, err := pathID(r, "userId")
	if err != nil {
		return entity.User{}, err
	}
	return a.Guard.User(r.Context(), p, id)
}

func (a *api) user(r *http.Request, p auth.Principal) (any, error) {
	u, err := a.oneUser(r, p)
	if err != nil {
		return nil, err
	}
	view := userView(u)
	view.AdditionalInfo, err = a.withActivation(r, u)
	return view, err
}

// withActivation adds to additionalInfo what is known of the user's logins (rest-api §1.5).
func (a *api) withActivation(r *http.Request, u entity.User) (json.RawMessage, error) {
	c, err := a.Entities.Users.Credentials(r.Context(), u.Tenant, u.ID)
	if err != nil {
		return nil, err
	}
	info := map[string]any{}
	if !none(u.AdditionalInfo) {
		if err := json.Unmarshal(u.AdditionalInfo, &info); err != nil {
			return nil, fmt.Errorf("read additional info of user: %w", err)
		}
	}
	info["userCredentialsEnabled"] = c.Enabled
	info["userActivated"] = c.PasswordHash != ""
	info["lastLoginTs"] = c.LastLogin
	return json.Marshal(info)
}

func (a *api) deleteUser(r *http.Request, p auth.Principal) (any, error) {
	u, err := a.oneUser(r, p)
	if err != nil {
		return nil, err
	}
	if p.Is(entity.SysAdmin) && u.ID == p.User {
		return nil, auth.Denied()
	}
	err = a.Entities.Users.Delete(r.Context(), u.Tenant, u.ID)
	a.Accounts.Forget(u.ID)
	return nil, err
}

func (a *api) activationLink(r *http.Request, p auth.Principal) (any, error) {
	link, _, err := a.linkFor(r, p)
	return text(link), err
}

func (a *api) activationLinkInfo(r *http.Request, p auth.Principal) (any, error) {
	link, expires, err := a.linkFor(r, p)
	if err != nil {
		return nil, err
	}
	return struct {
		Value string `json:"value"`
		TTLMs int64  `json:"ttlMs"`
	}{link, expires - a.Now().UnixMilli()}, nil
}

// linkFor makes the link under the address the request came to.
func (a *api) linkFor(r *http.Request, p auth.Principal) (link string, expires int64, err error) {
	u, err := a.oneUser(r, p)
	if err != nil {
		return "", 0, err
	}
	c, err := a.Entities.Users.NewActivation(r.Context(), u.Tenant, u.ID)
	if err != nil {
		return "", 0, err
	}
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host + "/api/noauth/activate?activateToken=" + c.ActivationToken, c.ActivationExpires, nil
}

func (a *api) userToken(r *http.Request, p auth.Principal) (any, error) {
	u, err := a.oneUser(r, p)
	if err != nil {
		return nil, err
	}
	return a.Accounts.PairFor(r.Context(), u.Tenant, u.ID)
}

func (a *api) tokenAccessEnabled(*http.Request, auth.Principal) (any, error) { return true, nil }

func (a *api) enableUser(r *http.Request, p auth.Principal) (any, error) {
	u, err := a.oneUser(r, p)
	if err != nil {
		return nil, err
	}
	enabled, err := flagOr(r, "userCredentialsEnabled", true)
	if err != nil {
		return nil, err
	}
	if !enabled && u.ID == p.User {
		return nil, fault.New(fault.Invalid, "Nobody can disable themselves!")
	}
	return nil, a.Accounts.SetEnabled(r.Context(), u.Tenant, u.ID, enabled)
}

func (a *api) listUsers(r *http.Request, p auth.Principal) (any, error) {
	if r.URL.Query().Has("userIds") {
		return a.usersByID(r, p)
	}
	return userPage(a, r, p.Tenant, entity.UserFilter{Customer: p.Customer}, userView)
}

func (a *api) listUserInfos(r *http.Request, p auth.Principal) (any, error) {
	return userPage(a, r, p.Tenant, entity.UserFilter{Customer: p.Customer}, userInfoView)
}

func (a *api) usersByID(r *http.Request, p auth.Principal) (any, error) {
	return listByID(r, "userIds", userView, func(id ident.ID) (entity.User, error) {
		return a.Guard.User(r.Context(), p, id)
	})
}

func (a *api) listTenantAdmins(r *http.Request, _ auth.Principal) (any, error) {
	id, err := pathID(r, "tenantId")
	if err != nil {
		return nil, err
	}
	return userPage(a, r, ident.TenantID{ID: id}, entity.UserFilter{Authority: entity.TenantAdmin}, userView)
}

func (a *api) listCustomerUsers(r *http.Request, p auth.Principal) (any, error) {
	c, err := a.oneCustomer(r, p)
	if err != nil {
		return nil, err
	}
	return userPage(a, r, p.Tenant, entity.UserFilter{Customer: c.ID, Authority: entity.CustomerUser}, userView)
}

func userPage[V any](a *api, r *http.Request, tenant ident.TenantID, f entity.UserFilter, show func(entity.User) V) (any, error) {
	asked, err := a.pageRequest(r)
	if err != nil {
		return nil, err
	}
	found, err := a.Entities.Users.List(r.Context(), tenant, f, asked)
	if err != nil {
		return nil, err
	}
	return paged(found, asked, show), nil
}
