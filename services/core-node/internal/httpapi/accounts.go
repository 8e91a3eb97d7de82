package httpapi

import (
	"net/http"
	"net/url"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
)

// accountRoutes are those of logging in and out (rest-api §1.2).
func (a *api) accountRoutes() []route {
	return []route{
		{"POST", "/api/auth/login", nil, a.login},
		{"GET", "/api/auth/login", nil, a.loginByOtherMethod},
		{"PUT", "/api/auth/login", nil, a.loginByOtherMethod},
		{"DELETE", "/api/auth/login", nil, a.loginByOtherMethod},
		{"POST", "/api/auth/token", nil, a.refresh},
		{"GET", "/api/auth/user", everyone(), a.self},
		{"POST", "/api/auth/logout", everyone(), a.logout},
		{"POST", "/api/auth/changePassword", everyone(), a.changePassword},
		{"GET", "/api/noauth/userPasswordPolicy", nil, a.passwordPolicy},
		{"GET", "/api/noauth/activate", nil, a.followActivation},
		{"POST", "/api/noauth/activate", nil, a.activate},
	}
}

// login takes any declared type of body: the first programs of a newcomer rarely declare one.
func (a *api) login(r *http.Request, _ auth.Principal) (any, error) {
	var in struct{ Username, Password string }
	body, err := read(r)
	if err != nil {
		return nil, err
	}
	if unmarshal(body, &in) != nil {
		return nil, fault.New(fault.Unauthenticated, "Invalid login request payload")
	}
	return a.Accounts.Login(r.Context(), in.Username, in.Password)
}

func (a *api) loginByOtherMethod(*http.Request, auth.Principal) (any, error) {
	return nil, fault.New(fault.Unauthenticated, "Authentication method not supported")
}

func (a *api) refresh(r *http.Request, _ auth.Principal) (any, error) {
	var in struct{ RefreshToken string }
	body, err := read(r)
	if err != nil {
		return nil, err
	}
	if unmarshal(body, &in) != nil {
		return nil, fault.New(fault.Unauthenticated, "Invalid refresh token request payload")
	}
	return a.Accounts.Refresh(r.Context(), in.RefreshToken)
}

func (a *api) self(r *http.Request, p auth.Principal) (any, error) {
	u, err := a.Entities.Users.Get(r.Context(), p.Tenant, p.User)
	if err != nil {
		return nil, err
	}
	return userView(u), nil
}

func (a *api) logout(r *http.Request, p auth.Principal) (any, error) {
	return nil, a.Accounts.Logout(r.Context(), p)
}

func (a *api) changePassword(r *http.Request, p auth.Principal) (any, error) {
	var in struct{ CurrentPassword, NewPassword string }
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	return a.Accounts.ChangePassword(r.Context(), p, in.CurrentPassword, in.NewPassword)
}

// policy is the password policy object of rest-api §1.5; what is null is not asked for.
type policy struct {
	MinimumLength                      int  `json:"minimumLength"`
	MaximumLength                      int  `json:"maximumLength"`
	MinimumUppercaseLetters            *int `json:"minimumUppercaseLetters"`
	MinimumLowercaseLetters            *int `json:"minimumLowercaseLetters"`
	MinimumDigits                      *int `json:"minimumDigits"`
	MinimumSpecialCharacters           *int `json:"minimumSpecialCharacters"`
	AllowWhitespaces                   bool `json:"allowWhitespaces"`
	ForceUserToResetPasswordIfNotValid bool `json:"forceUserToResetPasswordIfNotValid"`
	PasswordExpirationPeriodDays       *int `json:"passwordExpirationPeriodDays"`
	PasswordReuseFrequencyDays         *int `json:"passwordReuseFrequencyDays"`
}

func (a *api) passwordPolicy(*http.Request, auth.Principal) (any, error) {
	least, most := a.Accounts.PasswordLength()
	return policy{MinimumLength: least, MaximumLength: most, AllowWhitespaces: true}, nil
}

// followActivation is where the link of an invitation leads first.
func (a *api) followActivation(r *http.Request, _ auth.Principal) (any, error) {
	token := r.URL.Query().Get("activateToken")
	works, err := a.Accounts.CheckActivation(r.Context(), token)
	if fault.KindOf(err) == fault.NotFound {
		return nil, fault.Wrap(fault.Conflict, "Activation token is unknown", err)
	}
	if err != nil {
		return nil, err
	}
	if !works {
		return redirect("/activationLinkExpired"), nil
	}
	return redirect("/login/createPassword?activateToken=" + url.QueryEscape(token)), nil
}

func (a *api) activate(r *http.Request, _ auth.Principal) (any, error) {
	var in struct{ ActivateToken, Password string }
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	return a.Accounts.Activate(r.Context(), in.ActivateToken, in.Password)
}
