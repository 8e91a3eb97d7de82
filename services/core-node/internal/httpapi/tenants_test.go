package httpapi_test

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

type named struct {
	ID                     entityRef
	Title, Name, Email     string
	Region                 string
	TenantID, CustomerID   entityRef
	TenantProfileID        entityRef
	Version                int64
	Default                bool
	AdditionalInfo         map[string]any
	TransportType, Type    string
	ProfileData            map[string]any
	DefaultQueueName, City *string
}

type namedPage struct {
	Data          []named
	TotalElements int
}

func save(t *testing.T, c *httpapitest.Client, path string, body any) named {
	t.Helper()
	var n named
	c.Do("POST", path, body).Expect(200).JSON(&n)
	return n
}

func TestTenants(t *testing.T) {
	p := httpapitest.Start(t)
	system := p.System(t)
	made := save(t, system, "/api/tenant", `{"title":"North","city":"Oslo","region":"ignored"}`)
	if made.Region != "Global" || made.Name != "North" || made.Version != 1 || made.City == nil || *made.City != "Oslo" {
		t.Errorf("tenant %+v", made)
	}
	var profile named
	system.Get("/api/tenantProfileInfo/default", &profile)
	if made.TenantProfileID != profile.ID {
		t.Errorf("profile %v, want the default %v", made.TenantProfileID, profile.ID)
	}
	renamed := save(t, system, "/api/tenant", map[string]any{"id": made.ID, "title": "South", "version": 1})
	if renamed.Title != "South" || renamed.Version != 2 || renamed.City != nil {
		t.Errorf("tenant %+v", renamed)
	}
	system.Do("POST", "/api/tenant", map[string]any{"id": made.ID, "title": "East", "version": 1}).ExpectError(409, 35)
	system.Do("POST", "/api/tenant", `{"title":""}`).ExpectError(400, 31)
	var page namedPage
	system.Get("/api/tenants?pageSize=10&page=0&textSearch=SOU", &page)
	if page.TotalElements != 1 || page.Data[0].ID != made.ID {
		t.Errorf("tenants %+v", page)
	}
	system.Get("/api/tenantInfos?pageSize=10&page=0", &page)
	if page.TotalElements != 2 {
		t.Errorf("tenants %+v", page)
	}
	var info struct{ TenantProfileName string }
	system.Get("/api/tenant/info/"+made.ID.ID, &info)
	if info.TenantProfileName != profile.Name {
		t.Errorf("info %+v", info)
	}
	p.Admin(t).Do("GET", "/api/tenants?pageSize=10&page=0", nil).ExpectError(403, 20)
	system.Do("DELETE", "/api/tenant/"+made.ID.ID, nil).Expect(200)
	system.Do("GET", "/api/tenant/"+made.ID.ID, nil).ExpectError(404, 32)
}

func TestTenantProfiles(t *testing.T) {
	p := httpapitest.Start(t)
	system := p.System(t)
	made := save(t, system, "/api/tenantProfile", `{"name":"Small","profileData":{"configuration":{"type":"DEFAULT","maxDevices":5}}}`)
	if made.Default || made.Version != 1 || made.ProfileData["configuration"] == nil {
		t.Errorf("profile %+v", made)
	}
	system.Do("POST", "/api/tenantProfile", `{"name":"Small"}`).ExpectError(400, 31)
	var page namedPage
	system.Get("/api/tenantProfiles?pageSize=10&page=0&sortProperty=name", &page)
	if page.TotalElements != 2 || !page.Data[0].Default {
		t.Errorf("profiles %+v", page)
	}
	system.Do("DELETE", "/api/tenantProfile/"+page.Data[0].ID.ID, nil).ExpectError(400, 31)
	system.Do("DELETE", "/api/tenantProfile/"+made.ID.ID, nil).Expect(200)
	p.Admin(t).Do("POST", "/api/tenantProfile", `{"name":"Mine"}`).ExpectError(403, 20)
}

// TestDefaultTenantProfileMoves: tenants that are made later get it, those there are keep theirs.
func TestDefaultTenantProfileMoves(t *testing.T) {
	p := httpapitest.Start(t)
	system := p.System(t)
	type tenant struct{ ID, TenantProfileID entityRef }
	var first, second, old tenant
	system.Do("POST", "/api/tenant", `{"title":"First"}`).Expect(200).JSON(&first)
	made := save(t, system, "/api/tenantProfile", `{"name":"Small"}`)
	path := "/api/tenantProfile/" + made.ID.ID + "/default"
	p.Admin(t).Do("POST", path, nil).ExpectError(403, 20)
	system.Do("POST", "/api/tenantProfile/"+first.ID.ID+"/default", nil).ExpectError(404, 32)
	for range 2 { // the second time there is nothing to do
		var moved struct {
			ID      entityRef
			Default bool
		}
		system.Do("POST", path, nil).Expect(200).JSON(&moved)
		if moved.ID.ID != made.ID.ID || !moved.Default {
			t.Errorf("moved to %+v", moved)
		}
	}
	system.Do("POST", "/api/tenant", `{"title":"Second"}`).Expect(200).JSON(&second)
	system.Get("/api/tenant/"+first.ID.ID, &old)
	if second.TenantProfileID.ID != made.ID.ID || old.TenantProfileID != first.TenantProfileID || old.TenantProfileID.ID == made.ID.ID {
		t.Errorf("before %+v, then %+v, later %+v", first, old, second)
	}
	var page namedPage
	system.Get("/api/tenantProfiles?pageSize=10&page=0&sortProperty=name", &page)
	if page.TotalElements != 2 || page.Data[0].Default || !page.Data[1].Default {
		t.Errorf("profiles %+v", page)
	}
	system.Do("DELETE", "/api/tenantProfile/"+made.ID.ID, nil).ExpectError(400, 31)
}

func TestCustomersAndTheirUsers(t *testing.T) {
	p := httpapitest.Start(t)
	c := p.Admin(t)
	made := save(t, c, "/api/customer", `{"title":"C1","additionalInfo":{"isPublic":false}}`)
	c.Do("POST", "/api/customer", `{"title":"C1"}`).ExpectError(400, 31)
	c.Do("POST", "/api/customer", `{"title":"Public"}`).ExpectError(400, 31)
	if again := save(t, c, "/api/customer?nameConflictPolicy=UNIQUIFY&uniquifyStrategy=INCREMENTAL", `{"title":"C1"}`); again.Title != "C1_1" {
		t.Errorf("title %q", again.Title)
	}
	var found named
	c.Get("/api/tenant/customers?customerTitle=C1", &found)
	if found.ID != made.ID {
		t.Errorf("found %+v", found)
	}
	if title := c.Do("GET", "/api/customer/"+made.ID.ID+"/title", nil).Expect(200).Body; string(title) != "C1" {
		t.Errorf("title %q", title)
	}
	var short struct {
		Title    string
		IsPublic bool
	}
	c.Get("/api/customer/"+made.ID.ID+"/shortInfo", &short)
	if short.Title != "C1" || short.IsPublic {
		t.Errorf("short info %+v", short)
	}
	body := map[string]any{"email": "c1@example.org", "authority": "CUSTOMER_USER", "customerId": made.ID}
	c.Do("POST", "/api/user", body).ExpectError(400, 31) // mail is asked for, and there is none
	user := save(t, c, "/api/user?sendActivationMail=false", body)
	if user.CustomerID != made.ID || user.Name != "c1@example.org" {
		t.Errorf("user %+v", user)
	}
	c.Get("/api/user/"+user.ID.ID, &user)
	if diff := cmp.Diff(map[string]any{"userCredentialsEnabled": false, "userActivated": false, "lastLoginTs": 0.0}, user.AdditionalInfo); diff != "" {
		t.Errorf("additionalInfo (-want +got):\n%s", diff)
	}
	c.Do("POST", "/api/user?sendActivationMail=false", body).ExpectError(400, 31)
	var page namedPage
	c.Get("/api/customer/"+made.ID.ID+"/users?pageSize=10&page=0", &page)
	if page.TotalElements != 1 || page.Data[0].ID != user.ID {
		t.Errorf("users %+v", page)
	}
	// As the user, though not activated yet (case 38).
	var pair struct{ Token string }
	c.Get("/api/user/"+user.ID.ID+"/token", &pair)
	own := p.Anonymous(t)
	own.Token = pair.Token
	own.Do("GET", "/api/customer/"+made.ID.ID, nil).Expect(200)
	own.Do("GET", "/api/customers?pageSize=10&page=0", nil).ExpectError(403, 20)
	if me := save(t, own, "/api/user", map[string]any{"id": user.ID, "email": "c1@example.org", "authority": "TENANT_ADMIN", "firstName": "F"}); me.CustomerID != made.ID {
		t.Errorf("user after saving oneself %+v", me)
	}
	c.Do("DELETE", "/api/customer/"+made.ID.ID, nil).Expect(200)
	c.Do("GET", "/api/user/"+user.ID.ID, nil).ExpectError(404, 32)
}

func TestLastAdministratorStays(t *testing.T) {
	p := httpapitest.Start(t)
	c, system := p.Admin(t), p.System(t)
	var me, root named
	c.Get("/api/auth/user", &me)
	system.Get("/api/auth/user", &root)
	c.Do("DELETE", "/api/user/"+me.ID.ID, nil).ExpectError(400, 31)
	system.Do("DELETE", "/api/user/"+root.ID.ID, nil).ExpectError(403, 20)
	if root.TenantID != (entityRef{"TENANT", auth.NullID}) {
		t.Errorf("the system administrator's tenant is %v", root.TenantID)
	}
	var page namedPage
	system.Get("/api/tenant/"+me.TenantID.ID+"/users?pageSize=10&page=0", &page)
	if page.TotalElements != 1 || page.Data[0].ID != me.ID {
		t.Errorf("administrators %+v", page)
	}
	c.Get("/api/users/info?pageSize=10&page=0&textSearch=customerb", &page)
	if page.TotalElements != 1 || page.Data[0].Email != "customerB@thingsboard.org" {
		t.Errorf("users %+v", page)
	}
}

func TestDeviceProfiles(t *testing.T) {
	p := httpapitest.Start(t)
	c := p.Admin(t)
	made := save(t, c, "/api/deviceProfile", `{"name":"SMART_METER","type":"DEFAULT","transportType":"MQTT","defaultQueueName":"","description":null,
		"profileData":{"configuration":{"type":"DEFAULT"},"transportConfiguration":{"type":"MQTT"},"alarms":[{"id":"x"}]}}`)
	if made.TransportType != "MQTT" || made.DefaultQueueName != nil || made.Default || made.Version != 1 || made.ProfileData["alarms"] == nil {
		t.Errorf("profile %+v", made)
	}
	var fields map[string]any
	c.Get("/api/deviceProfile/"+made.ID.ID, &fields)
	want := []string{
		"createdTime", "default", "defaultDashboardId", "defaultEdgeRuleChainId", "defaultQueueName", "defaultRuleChainId", "description", "externalId",
		"firmwareId", "id", "image", "name", "profileData", "provisionDeviceKey", "provisionType", "softwareId", "tenantId", "transportType", "type", "version",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(fields))); diff != "" {
		t.Errorf("fields of a profile (-want +got):\n%s", diff)
	}
	var info named
	c.Get("/api/deviceProfileInfo/default", &info)
	if info.Name != "default" || info.TransportType != "DEFAULT" || info.Type != "DEFAULT" {
		t.Errorf("default profile %+v", info)
	}
	c.Do("DELETE", "/api/deviceProfile/"+info.ID.ID, nil).ExpectError(400, 31)
	if d := save(t, c, "/api/deviceProfile/"+made.ID.ID+"/default", ``); !d.Default {
		t.Errorf("profile %+v after it was made the default", d)
	}
	var page namedPage
	c.Get("/api/deviceProfileInfos?pageSize=10&page=0&transportType=MQTT", &page)
	if page.TotalElements != 1 || page.Data[0].Name != "SMART_METER" {
		t.Errorf("profiles %+v", page)
	}
	for _, bad := range []string{
		`{"name":"x","type":"y"}`, `{"name":"x","transportType":"CARRIER_PIGEON"}`, `{"name":"x","profileData":[]}`, `{"name":""}`,
		`{"name":"x","defaultRuleChainId":{"id":"` + made.ID.ID + `"}}`,
	} {
		c.Do("POST", "/api/deviceProfile", bad).ExpectError(400, 31)
	}
}

// TestPanicIsOneRequestsFailure: a mistake in the program ends one request, is counted, and tells nothing.
func TestPanicIsOneRequestsFailure(t *testing.T) {
	p := httpapitest.Start(t)
	registry := prometheus.NewRegistry()
	broken := httpapi.New(httpapi.Deps{
		Accounts: p.Accounts, Settings: httpapi.DefaultSettings(), Log: slog.New(slog.DiscardHandler), Metrics: registry,
		WebSocket: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("planted") }),
	})
	answer := httptest.NewRecorder()
	broken.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/api/ws", nil))
	if answer.Code != 500 || strings.Contains(answer.Body.String(), "planted") || !strings.Contains(answer.Body.String(), `"errorCode":2`) {
		t.Errorf("status %d: %s", answer.Code, answer.Body)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "core_rest_panics_total" && f.GetMetric()[0].GetCounter().GetValue() == 1 {
			return
		}
	}
	t.Errorf("the panic is not counted: %v", families)
}

// TestSlowBodyIsCutOff: a client that does not send what it announced holds nothing for long.
func TestSlowBodyIsCutOff(t *testing.T) {
	p := httpapitest.Start(t, func(o *httpapitest.Options) { o.REST.Timeout = 200 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprint(conn, "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400") {
		t.Errorf("%q, %v; want a refusal and the end of the connection", answer, err)
	}
}
