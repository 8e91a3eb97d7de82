package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/tests/system/ledger"
)

// Tenant is a person at the REST API.
type Tenant struct {
	base, token string
	client      http.Client
}

// ref is an entity's id as the API writes it.
type ref struct {
	EntityType string `json:"entityType"`
	ID         string `json:"id"`
}

// Login returns a tenant (or administrator) at the API of base.
func Login(ctx context.Context, base, user, password string) (*Tenant, error) {
	t := &Tenant{base: base, client: http.Client{Timeout: 20 * time.Second}}
	var tokens struct{ Token string }
	err := t.call(ctx, http.MethodPost, "/api/auth/login", map[string]string{"username": user, "password": password}, &tokens)
	t.token = tokens.Token
	return t, err
}

// call sends body as JSON and decodes the answer into answer (a *string takes it raw).
func (t *Tenant) call(ctx context.Context, method, path string, body, answer any) error {
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, t.base+path, in)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if t.token != "" {
		request.Header.Set("X-Authorization", "Bearer "+t.token)
	}
	response, err := t.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %d %s", method, path, response.StatusCode, text)
	}
	switch answer := answer.(type) {
	case nil:
		return nil
	case *string:
		*answer = string(text)
		return nil
	}
	return json.Unmarshal(text, answer)
}

var activateToken = regexp.MustCompile(`activateToken=([A-Za-z0-9]+)`)

// NewTenant makes a tenant with one administrator and logs that one in; t must be the system's administrator.
func (t *Tenant) NewTenant(ctx context.Context, title string) (*Tenant, error) {
	var made struct{ ID ref }
	if err := t.call(ctx, http.MethodPost, "/api/tenant", map[string]any{"title": title}, &made); err != nil {
		return nil, err
	}
	return t.NewUser(ctx, map[string]any{"email": title + "@example.org", "authority": "TENANT_ADMIN", "tenantId": made.ID})
}

// NewUser makes a user, as the API writes one, gives that a password and logs it in; t must be who may make it.
func (t *Tenant) NewUser(ctx context.Context, user map[string]any) (*Tenant, error) {
	var made struct {
		ID    ref
		Email string
	}
	if err := t.call(ctx, http.MethodPost, "/api/user?sendActivationMail=false", user, &made); err != nil {
		return nil, err
	}
	var link string
	if err := t.call(ctx, http.MethodGet, "/api/user/"+made.ID.ID+"/activationLink", nil, &link); err != nil {
		return nil, err
	}
	match := activateToken.FindStringSubmatch(link)
	if match == nil {
		return nil, fmt.Errorf("no token in the activation link %q", link)
	}
	activation := map[string]string{"activateToken": match[1], "password": "a-long-password"}
	if err := t.call(ctx, http.MethodPost, "/api/noauth/activate?sendActivationMail=false", activation, nil); err != nil {
		return nil, err
	}
	return Login(ctx, t.base, made.Email, "a-long-password")
}

// NewDevice makes a device with an access token and returns its id.
func (t *Tenant) NewDevice(ctx context.Context, name, token string) (string, error) {
	var made struct{ ID ref }
	err := t.call(ctx, http.MethodPost, "/api/device?accessToken="+url.QueryEscape(token), map[string]any{"name": name, "type": "default"}, &made)
	return made.ID.ID, err
}

// devicesAtOnce is how many devices NewDevices has under way: the store waits for its disk with each.
const devicesAtOnce = 32

// NewDevices makes a device for each token, called kind and a number, several at a time, and returns their ids.
func (t *Tenant) NewDevices(ctx context.Context, kind string, tokens []string) ([]string, error) {
	ids, errs := make([]string, len(tokens)), make([]error, len(tokens))
	next := make(chan int)
	var making sync.WaitGroup
	for range min(devicesAtOnce, len(tokens)) {
		making.Go(func() {
			for i := range next {
				ids[i], errs[i] = t.NewDevice(ctx, fmt.Sprintf("%s-%03d", kind, i), tokens[i])
			}
		})
	}
	for i := range tokens {
		next <- i
	}
	close(next)
	making.Wait()
	return ids, errors.Join(errs...)
}

// Rows reads the whole series called key of a device, whose values are reading numbers.
func (t *Tenant) Rows(ctx context.Context, device, key string) ([]ledger.Row, error) {
	var answer map[string][]struct {
		TS    int64  `json:"ts"`
		Value string `json:"value"`
	}
	path := fmt.Sprintf("/api/plugins/telemetry/DEVICE/%s/values/timeseries?keys=%s&startTs=0&endTs=4102444800000&limit=1000000&agg=NONE&orderBy=ASC", device, key)
	if err := t.call(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return nil, err
	}
	var rows []ledger.Row
	for _, point := range answer[key] {
		n, err := strconv.Atoi(point.Value)
		if err != nil {
			return nil, fmt.Errorf("stored value %q is no reading number", point.Value)
		}
		rows = append(rows, ledger.Row{Time: point.TS, N: n})
	}
	return rows, nil
}

// standstill is how long nothing more of a device may be stored before what is missing counts as lost. A backlog takes as long as
// it takes.
const standstill = 40 * time.Second

// Settled waits until all that was acknowledged to a device is stored, or nothing more comes, and holds the account against it.
func (t *Tenant) Settled(ctx context.Context, device string, account *ledger.Device) (ledger.Verdict, error) {
	for stored, moved := 0, time.Now(); ; time.Sleep(50 * time.Millisecond) {
		rows, err := t.Rows(ctx, device, "n")
		if err != nil {
			if ctx.Err() != nil || time.Since(moved) >= standstill {
				return ledger.Verdict{}, err
			}
			continue // whoever handles a backlog may be too busy to answer
		}
		verdict := account.Check(rows)
		if verdict.Stored > stored {
			stored, moved = verdict.Stored, time.Now()
		}
		if len(verdict.Lost) == 0 || time.Since(moved) >= standstill {
			return verdict, nil
		}
	}
}

// ID returns the tenant's id.
func (t *Tenant) ID(ctx context.Context) (string, error) {
	var user struct {
		TenantID ref `json:"tenantId"`
	}
	err := t.call(ctx, http.MethodGet, "/api/auth/user", nil, &user)
	return user.TenantID.ID, err
}

// SaveAttributes writes server attributes of a device.
func (t *Tenant) SaveAttributes(ctx context.Context, device string, attributes map[string]any) error {
	return t.call(ctx, http.MethodPost, "/api/plugins/telemetry/DEVICE/"+device+"/attributes/SERVER_SCOPE", attributes, nil)
}

// SaveShared writes shared attributes of a device, of which a device that subscribed is told.
func (t *Tenant) SaveShared(ctx context.Context, device string, attributes map[string]any) error {
	return t.call(ctx, http.MethodPost, "/api/plugins/telemetry/DEVICE/"+device+"/attributes/SHARED_SCOPE", attributes, nil)
}

// Attributes reads all server attributes of a device.
func (t *Tenant) Attributes(ctx context.Context, device string) (map[string]any, error) {
	var answer []struct {
		Key   string
		Value any
	}
	if err := t.call(ctx, http.MethodGet, "/api/plugins/telemetry/DEVICE/"+device+"/values/attributes/SERVER_SCOPE", nil, &answer); err != nil {
		return nil, err
	}
	attributes := make(map[string]any, len(answer))
	for _, a := range answer {
		attributes[a.Key] = a.Value
	}
	return attributes, nil
}

// ChangeToken gives a device another access token.
func (t *Tenant) ChangeToken(ctx context.Context, device, token string) error {
	var credentials map[string]any
	if err := t.call(ctx, http.MethodGet, "/api/device/"+device+"/credentials", nil, &credentials); err != nil {
		return err
	}
	credentials["credentialsId"] = token
	return t.call(ctx, http.MethodPost, "/api/device/credentials", credentials, nil)
}

// DeleteDevice deletes a device and all it had.
func (t *Tenant) DeleteDevice(ctx context.Context, device string) error {
	return t.call(ctx, http.MethodDelete, "/api/device/"+device, nil, nil)
}
