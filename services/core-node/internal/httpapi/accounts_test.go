package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

// The numbers of test cases are those of rest-api §7.

func claims(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token %q has %d parts", token, len(parts))
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatalf("decode claims: %v", err)
	}
	var c map[string]any
	if err := json.Unmarshal(body, &c); err != nil {
		t.Fatalf("decode claims: %v", err)
	}
	return c
}

func TestCase1Login(t *testing.T) {
	p := httpapitest.Start(t)
	c := claims(t, p.Admin(t).Token)
	if scopes := fmt.Sprint(c["scopes"]); scopes != "[TENANT_ADMIN]" {
		t.Errorf("scopes %s", scopes)
	}
	if life := c["exp"].(float64) - c["iat"].(float64); life != 9000 {
		t.Errorf("exp-iat = %v, want 9000", life)
	}
	if c["tenantId"] == auth.NullID || c["customerId"] != auth.NullID || c["sub"] != "tenant@thingsboard.org" || c["iss"] != "thingsboard.io" {
		t.Errorf("claims %v", c)
	}
	system := claims(t, p.System(t).Token)
	if system["tenantId"] != auth.NullID {
		t.Errorf("the system administrator's tenant is %v", system["tenantId"])
	}
}

func TestCase2And3WrongLogin(t *testing.T) {
	p := httpapitest.Start(t)
	c := p.Anonymous(t)
	wrong := c.Do("POST", "/api/auth/login", `{"username":"tenant@thingsboard.org","password":"wrong"}`).ExpectError(401, 10)
	unknown := c.Do("POST", "/api/auth/login", `{"username":"nobody@thingsboard.org","password":"wrong"}`).ExpectError(401, 10)
	if wrong != unknown {
		t.Errorf("a wrong password answers %q, an unknown user %q", wrong, unknown)
	}
	for _, body := range []string{`{}`, `{"username":"","password":""}`, `{"username":"tenant@thingsboard.org"}`, `{"username":7}`, `[`, ``} {
		c.Do("POST", "/api/auth/login", body).ExpectError(401, 10)
	}
}

func TestCase4LoginByGet(t *testing.T) {
	httpapitest.Start(t).Anonymous(t).Do("GET", "/api/auth/login", nil).ExpectError(401, 10)
}

func TestCase5And6Headers(t *testing.T) {
	p := httpapitest.Start(t)
	anonymous := p.Anonymous(t)
	token := p.Admin(t).Token
	for _, c := range []struct {
		name    string
		headers []string
		status  int
	}{
		{"none", nil, 401},
		{"Authorization", []string{"Authorization", "Bearer " + token}, 200},
		{"X-Authorization", []string{"X-Authorization", "Bearer " + token}, 200},
		{"X-Authorization wins", []string{"Authorization", "Bearer " + token, "X-Authorization", "Bearer x"}, 401},
		{"Basic", []string{"Authorization", "Basic dGVuYW50OnRlbmFudA=="}, 401},
		{"lower case", []string{"Authorization", "bearer " + token}, 401},
	} {
		answer := anonymous.Do("GET", "/api/auth/user", nil, c.headers...)
		if c.status == 401 {
			answer.ExpectError(401, 10)
			continue
		}
		var user struct{ Email, Authority, Name string }
		answer.Expect(200).JSON(&user)
		if user.Email != "tenant@thingsboard.org" || user.Authority != "TENANT_ADMIN" || user.Name != user.Email {
			t.Errorf("%s: user %+v", c.name, user)
		}
	}
}

func TestCase7BadTokens(t *testing.T) {
	var shift atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }
	p := httpapitest.Start(t, func(o *httpapitest.Options) { o.Now = now })
	other := httpapitest.Start(t)
	c := p.Anonymous(t)
	c.Token = "garbage"
	c.Do("GET", "/api/auth/user", nil).ExpectError(401, 10)
	c.Token = other.Admin(t).Token
	c.Do("GET", "/api/auth/user", nil).ExpectError(401, 11)
	c = p.Admin(t)
	c.Do("GET", "/api/auth/user", nil).Expect(200)
	shift.Store(int64(9001 * time.Second))
	c.Do("GET", "/api/auth/user", nil).ExpectError(401, 11)
}

func TestCase8And9Refresh(t *testing.T) {
	var shift atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }
	p := httpapitest.Start(t, func(o *httpapitest.Options) { o.Now = now })
	c := p.Admin(t)
	var pair struct{ Token, RefreshToken string }
	c.Do("POST", "/api/auth/token", map[string]string{"refreshToken": c.Refresh}).Expect(200).JSON(&pair)
	if a, b := claims(t, c.Token)["sessionId"], claims(t, pair.Token)["sessionId"]; a == b {
		t.Errorf("the refreshed pair is of the same session")
	}
	if got := claims(t, pair.RefreshToken); fmt.Sprint(got["scopes"]) != "[REFRESH_TOKEN]" || got["jti"] == nil || got["exp"].(float64)-got["iat"].(float64) != 604800 {
		t.Errorf("refresh claims %v", got)
	}
	c.Do("POST", "/api/auth/token", map[string]string{"refreshToken": c.Token}).ExpectError(401, 10)
	c.Do("POST", "/api/auth/token", `{}`).ExpectError(401, 10)
	c.Token = pair.RefreshToken
	c.Do("GET", "/api/auth/user", nil).ExpectError(401, 10)
	shift.Store(int64(604801 * time.Second))
	c.Do("POST", "/api/auth/token", map[string]string{"refreshToken": c.Refresh}).ExpectError(401, 11)
}

func TestCase10Logout(t *testing.T) {
	p := httpapitest.Start(t)
	c, other := p.Admin(t), p.Admin(t)
	c.Do("POST", "/api/auth/logout", nil).Expect(200)
	c.Do("GET", "/api/auth/user", nil).ExpectError(401, 10)
	c.Do("POST", "/api/auth/token", map[string]string{"refreshToken": c.Refresh}).ExpectError(401, 10)
	other.Do("GET", "/api/auth/user", nil).Expect(200)
}

func TestCase11Lockout(t *testing.T) {
	p := httpapitest.Start(t, func(o *httpapitest.Options) { o.Auth.MaxFailedLogins = 3 })
	c, admin := p.Anonymous(t), p.Admin(t)
	victim, _, err := p.Entities.Users.ByEmail(t.Context(), "customer@thingsboard.org")
	if err != nil {
		t.Fatal(err)
	}
	session := p.Customer(t)
	login := func(pass string) httpapitest.Answer {
		return c.Do("POST", "/api/auth/login", map[string]string{"username": victim.Email, "password": pass})
	}
	var invalid string
	for range 3 {
		invalid = login("wrong").ExpectError(401, 10)
	}
	if locked := login("wrong").ExpectError(401, 10); locked == invalid {
		t.Errorf("the fourth failure answers %q as the first", locked)
	}
	login("customer").ExpectError(401, 10)
	session.Do("GET", "/api/auth/user", nil).ExpectError(401, 10)
	enable := "/api/user/" + victim.ID.String() + "/userCredentialsEnabled?userCredentialsEnabled="
	admin.Do("POST", enable+"true", nil).Expect(200)
	login("customer").Expect(200)
	admin.Do("POST", enable+"false", nil).Expect(200)
	login("customer").ExpectError(401, 10)
}

// invite makes a user of the demo tenant and returns the activation token of the link.
func invite(t *testing.T, admin *httpapitest.Client, email string) string {
	t.Helper()
	var user struct{ ID struct{ ID string } }
	admin.Do("POST", "/api/user?sendActivationMail=false", map[string]string{"email": email, "authority": "TENANT_ADMIN"}).Expect(200).JSON(&user)
	link := string(admin.Do("GET", "/api/user/"+user.ID.ID+"/activationLink", nil).Expect(200).Body)
	_, token, ok := strings.Cut(link, "/api/noauth/activate?activateToken=")
	if !ok || len(token) != 30 {
		t.Fatalf("activation link %q", link)
	}
	return token
}

func TestCase12And13Activation(t *testing.T) {
	p := httpapitest.Start(t)
	admin, c := p.Admin(t), p.Anonymous(t)
	token := invite(t, admin, "new@example.org")
	activate := func(pass string) httpapitest.Answer {
		return c.Do("POST", "/api/noauth/activate?sendActivationMail=true", map[string]string{"activateToken": token, "password": pass})
	}
	activate("five5").ExpectError(400, 31)
	activate(strings.Repeat("x", 73)).ExpectError(400, 31)
	c.Do("POST", "/api/auth/login", `{"username":"new@example.org","password":"five5"}`).ExpectError(401, 10)
	if to := c.Do("GET", "/api/noauth/activate?activateToken="+token, nil).Expect(303).Header.Get("Location"); to != "/login/createPassword?activateToken="+token {
		t.Errorf("the link leads to %q", to)
	}
	c.Do("GET", "/api/noauth/activate?activateToken=unknown", nil).ExpectError(409, 35)
	var pair struct{ Token, RefreshToken string }
	activate("secret-1").Expect(200).JSON(&pair)
	c.Token = pair.Token
	var user struct{ Email string }
	c.Get("/api/auth/user", &user)
	if user.Email != "new@example.org" {
		t.Errorf("the tokens are of %q", user.Email)
	}
	activate("secret-2").ExpectError(400, 31)
	p.Login(t, "new@example.org", "secret-1")
}

func TestCase14ChangePassword(t *testing.T) {
	p := httpapitest.Start(t)
	c, other := p.Admin(t), p.Admin(t)
	change := func(from, to string) httpapitest.Answer {
		return c.Do("POST", "/api/auth/changePassword", map[string]string{"currentPassword": from, "newPassword": to})
	}
	change("wrong", "secret-1").ExpectError(400, 31)
	change("tenant", "tenant").ExpectError(400, 31)
	change("tenant", "x").ExpectError(400, 31)
	var pair struct{ Token, RefreshToken string }
	change("tenant", "secret-1").Expect(200).JSON(&pair)
	for _, old := range []*httpapitest.Client{c, other} {
		old.Do("GET", "/api/auth/user", nil).ExpectError(401, 10)
		old.Do("POST", "/api/auth/token", map[string]string{"refreshToken": old.Refresh}).ExpectError(401, 10)
	}
	c.Token = pair.Token
	c.Do("GET", "/api/auth/user", nil).Expect(200)
	p.Login(t, "tenant@thingsboard.org", "secret-1").Do("GET", "/api/auth/user", nil).Expect(200)
}

func TestTokensOfDeletedUserAreRefused(t *testing.T) {
	p := httpapitest.Start(t)
	admin := p.Admin(t)
	token := invite(t, admin, "gone@example.org")
	var pair struct{ Token string }
	admin.Do("POST", "/api/noauth/activate", map[string]string{"activateToken": token, "password": "secret-1"}).Expect(200).JSON(&pair)
	c := p.Anonymous(t)
	c.Token = pair.Token
	var user struct{ ID struct{ ID string } }
	c.Get("/api/auth/user", &user)
	admin.Do("DELETE", "/api/user/"+user.ID.ID, nil).Expect(200)
	c.Do("GET", "/api/auth/user", nil).ExpectError(401, 10)
}

func TestUnknownPathsAndMethods(t *testing.T) {
	p := httpapitest.Start(t)
	p.Anonymous(t).Do("GET", "/api/nothing", nil).ExpectError(401, 10)
	admin := p.Admin(t)
	admin.Do("GET", "/api/nothing", nil).ExpectError(404, 32)
	admin.Do("PUT", "/api/device", `{}`).ExpectError(405, 31)
	admin.Do("POST", "/api/device", `{}`, "Content-Type", "text/plain").ExpectError(415, 31)
}
