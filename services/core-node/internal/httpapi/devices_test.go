package httpapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

type entityRef struct{ EntityType, ID string }

type deviceAnswer struct {
	ID, TenantID, CustomerID, DeviceProfileID entityRef
	Name, Type                                string
	Label                                     *string
	DeviceData                                json.RawMessage
	Version                                   int64
}

type credentialsAnswer struct {
	DeviceID                       entityRef
	CredentialsType, CredentialsID string
	CredentialsValue               *string
	Version                        int64
}

func create(t *testing.T, c *httpapitest.Client, path string, body any) deviceAnswer {
	t.Helper()
	var d deviceAnswer
	c.Do("POST", path, body).Expect(200).JSON(&d)
	return d
}

func TestCase39CreateDevice(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	answer := c.Do("POST", "/api/device", `{"name":"D1"}`).Expect(200)
	var fields map[string]json.RawMessage
	answer.JSON(&fields)
	want := []string{
		"additionalInfo", "createdTime", "customerId", "deviceData", "deviceProfileId", "externalId", "firmwareId",
		"id", "label", "name", "softwareId", "tenantId", "type", "version",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(fields))); diff != "" {
		t.Errorf("fields of a device (-want +got):\n%s", diff)
	}
	var d deviceAnswer
	answer.JSON(&d)
	if d.Type != "default" || d.CustomerID != (entityRef{"CUSTOMER", auth.NullID}) || d.Version != 1 || d.Label != nil {
		t.Errorf("device %+v", d)
	}
	if string(d.DeviceData) != `{"configuration":{"type":"DEFAULT"},"transportConfiguration":{"type":"DEFAULT"}}` {
		t.Errorf("deviceData %s", d.DeviceData)
	}
	var credentials credentialsAnswer
	c.Get("/api/device/"+d.ID.ID+"/credentials", &credentials)
	if credentials.CredentialsType != "ACCESS_TOKEN" || len(credentials.CredentialsID) != 20 || credentials.CredentialsValue != nil || credentials.DeviceID != d.ID {
		t.Errorf("credentials %+v", credentials)
	}
}

func TestCase40AccessToken(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	d := create(t, c, "/api/device?accessToken=T1", `{"name":"D1"}`)
	var credentials credentialsAnswer
	c.Get("/api/device/"+d.ID.ID+"/credentials", &credentials)
	if credentials.CredentialsID != "T1" {
		t.Errorf("token %q, want T1", credentials.CredentialsID)
	}
	c.Do("POST", "/api/device?accessToken=T1", `{"name":"D2"}`).ExpectError(400, 31)
	if d := create(t, c, "/api/device?accessToken=", `{"name":"D3"}`); d.Name != "D3" {
		t.Errorf("an empty token makes %+v", d)
	}
}

func TestCase41And42Profiles(t *testing.T) {
	p := httpapitest.Start(t)
	c := p.Admin(t)
	foo := create(t, c, "/api/device", `{"name":"D1","type":"foo"}`)
	var profile struct {
		Name    string
		Default bool
	}
	c.Get("/api/deviceProfile/"+foo.DeviceProfileID.ID, &profile)
	if profile.Name != "foo" || profile.Default || foo.Type != "foo" {
		t.Errorf("profile %+v of device %+v", profile, foo)
	}
	overruled := create(t, c, "/api/device", map[string]any{"name": "D2", "type": "other", "deviceProfileId": map[string]string{"entityType": "DEVICE_PROFILE", "id": foo.DeviceProfileID.ID}})
	if overruled.Type != "foo" {
		t.Errorf("type %q, want the profile's name", overruled.Type)
	}
	p.Tenant(t, "Other", "other@example.org", "secret-1")
	stranger := p.Login(t, "other@example.org", "secret-1")
	stranger.Do("POST", "/api/device", map[string]any{"name": "D3", "deviceProfileId": foo.DeviceProfileID}).ExpectError(400, 31)
}

func TestCase43DuplicateName(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	create(t, c, "/api/device", `{"name":"D1"}`)
	c.Do("POST", "/api/device", `{"name":"D1"}`).ExpectError(400, 31)
	if d := create(t, c, "/api/device?nameConflictPolicy=UNIQUIFY", `{"name":"D1"}`); !strings.HasPrefix(d.Name, "D1_") || len(d.Name) < 5 {
		t.Errorf("name %q, want a random suffix", d.Name)
	}
	for _, want := range []string{"D1-1", "D1-2"} {
		d := create(t, c, "/api/device?nameConflictPolicy=UNIQUIFY&uniquifyStrategy=INCREMENTAL&uniquifySeparator=-", `{"name":"D1"}`)
		if d.Name != want {
			t.Errorf("name %q, want %q", d.Name, want)
		}
	}
	create(t, c, "/api/device?accessToken=T1", `{"name":"D2"}`)
	c.Do("POST", "/api/device?nameConflictPolicy=UNIQUIFY&accessToken=T1", `{"name":"D3"}`).ExpectError(400, 31)
	c.Do("POST", "/api/device?nameConflictPolicy=MAYBE", `{"name":"D1"}`).ExpectError(400, 31)
}

func TestCase44Versions(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	d := create(t, c, "/api/device", `{"name":"D1"}`)
	save := func(version any, label string) httpapitest.Answer {
		return c.Do("POST", "/api/device", map[string]any{"id": d.ID, "name": "D1", "label": label, "version": version})
	}
	save(1, "one").Expect(200).JSON(&d)
	if d.Version != 2 {
		t.Errorf("version %d after a save, want 2", d.Version)
	}
	save(1, "two").ExpectError(409, 35)
	save(nil, "three").Expect(200).JSON(&d)
	if d.Version != 3 || d.Label == nil || *d.Label != "three" {
		t.Errorf("device %+v", d)
	}
}

func TestCase45And49NotFound(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	c.Do("GET", "/api/tenant/devices?deviceName=none", nil).ExpectError(404, 32)
	var d deviceAnswer
	c.Get("/api/tenant/devices?deviceName=Test%20Device%20A1", &d)
	if d.Name != "Test Device A1" {
		t.Errorf("found %+v", d)
	}
	c.Do("GET", "/api/device/not-a-uuid", nil).ExpectError(400, 31)
	c.Do("DELETE", "/api/device/"+d.ID.ID, nil).Expect(200)
	c.Do("DELETE", "/api/device/"+d.ID.ID, nil).ExpectError(404, 32)
}

type pageAnswer struct {
	Data                      []deviceAnswer
	TotalPages, TotalElements int
	HasNext                   bool
}

func TestCase46BadPages(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	for _, query := range []string{
		"pageSize=0&page=0", "page=0", "pageSize=10", "pageSize=x&page=0", "pageSize=10&page=-1", "pageSize=10&page=0&sortOrder=UP",
		"pageSize=10&page=0&sortProperty=name;drop", "pageSize=10&page=0&sortProperty=name%3Bdrop", "pageSize=10&page=0&sortProperty=nothing",
		"pageSize=1000000000&page=0",
	} {
		c.Do("GET", "/api/tenant/devices?"+query, nil).ExpectError(400, 31)
	}
}

func TestCase47Pages(t *testing.T) {
	p := httpapitest.Start(t)
	p.Tenant(t, "Paged", "paged@example.org", "secret-1")
	c := p.Login(t, "paged@example.org", "secret-1")
	for i := range 25 {
		create(t, c, "/api/device", fmt.Sprintf(`{"name":"D%02d"}`, i))
	}
	var got pageAnswer
	c.Get("/api/tenant/devices?pageSize=10&page=2&sortProperty=name&sortOrder=DESC", &got)
	if len(got.Data) != 5 || got.TotalPages != 3 || got.TotalElements != 25 || got.HasNext || got.Data[0].Name != "D04" {
		t.Errorf("page 2: %d items from %q, %+v", len(got.Data), got.Data[0].Name, got)
	}
	c.Get("/api/tenant/devices?pageSize=10&page=1&sortProperty=name&sortOrder=asc", &got)
	if len(got.Data) != 10 || !got.HasNext || got.Data[0].Name != "D10" {
		t.Errorf("page 1: %+v", got)
	}
	empty := c.Do("GET", "/api/tenant/devices?pageSize=10&page=9", nil).Expect(200)
	empty.JSON(&got)
	if len(got.Data) != 0 || got.TotalPages != 3 || got.TotalElements != 25 || got.HasNext || !strings.Contains(string(empty.Body), `"data":[]`) {
		t.Errorf("page 9: %s", empty.Body)
	}
}

func TestCase48TextSearch(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	create(t, c, "/api/device", `{"name":"D1","label":"Boiler Room"}`)
	var got pageAnswer
	c.Get("/api/tenant/devices?pageSize=10&page=0&textSearch=ILER%20ro", &got)
	if len(got.Data) != 1 || got.Data[0].Name != "D1" {
		t.Errorf("found %+v", got)
	}
}

func TestBadDevices(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	for _, body := range []string{
		`{}`, `{"name":""}`, `{"name":7}`, `{"name":"<b>x</b>"}`, `{"name":"{{x}}"}`, `{"name":"x","label":"<script>"}`,
		`{"name":"x","additionalInfo":[]}`, `{"name":"x","deviceProfileId":{"entityType":"ASSET","id":"` + auth.NullID + `"}}`,
		`{"name":"x","deviceProfileId":{"id":"y"}}`, `{"name":"x"`, `[]`, `{"name":"` + strings.Repeat("x", 256) + `"}`, "{\"name\":\"a\x00b\"}",
	} {
		c.Do("POST", "/api/device", body).ExpectError(400, 31)
	}
	if message := c.Do("POST", "/api/device", `{"name":"x","deviceProfileId":{"id":7}}`).ExpectError(400, 31); !strings.Contains(message, "deviceProfileId.id") {
		t.Errorf("the error does not name the field: %s", message)
	}
}

func TestDeviceInfosAndAssignment(t *testing.T) {
	p := httpapitest.Start(t)
	c, user := p.Admin(t), p.Customer(t)
	var customers struct {
		Data []struct {
			ID    entityRef
			Title string
		}
	}
	c.Get("/api/customers?pageSize=10&page=0&textSearch=customer%20a", &customers)
	if len(customers.Data) != 1 || customers.Data[0].Title != "Customer A" {
		t.Fatalf("customers %+v", customers)
	}
	customer := customers.Data[0].ID.ID
	d := create(t, c, "/api/device", `{"name":"D1"}`)
	user.Do("GET", "/api/device/"+d.ID.ID, nil).ExpectError(403, 20)
	c.Do("DELETE", "/api/customer/device/"+d.ID.ID, nil).ExpectError(400, 31)
	c.Do("POST", "/api/customer/"+customer+"/device/"+d.ID.ID, nil).Expect(200)
	var info struct {
		CustomerTitle, DeviceProfileName string
		CustomerIsPublic, Active         bool
	}
	user.Get("/api/device/info/"+d.ID.ID, &info)
	if info.CustomerTitle != "Customer A" || info.DeviceProfileName != "default" || info.Active {
		t.Errorf("info %+v", info)
	}
	if err := p.Owner.SaveAttributes(t.Context(), p.Demo(t, "D1").Tenant, p.Demo(t, "D1").ID.Entity(), serverScope, active(true)); err != nil {
		t.Fatal(err)
	}
	var page pageAnswer
	c.Get("/api/tenant/deviceInfos?pageSize=10&page=0&active=true", &page)
	if len(page.Data) != 1 || page.Data[0].Name != "D1" {
		t.Errorf("active devices %+v", page)
	}
	user.Get("/api/customer/"+customer+"/devices?pageSize=10&page=0&sortProperty=name", &page)
	if page.TotalElements != 4 || page.Data[0].Name != "D1" {
		t.Errorf("the customer's devices %+v", page)
	}
	user.Do("GET", "/api/tenant/devices?pageSize=10&page=0", nil).ExpectError(403, 20)
	user.Do("POST", "/api/device", `{"name":"D2"}`).ExpectError(403, 20)
	user.Do("DELETE", "/api/device/"+d.ID.ID, nil).ExpectError(403, 20)
}

func TestCredentials(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	d := create(t, c, "/api/device", `{"name":"D1"}`)
	var got credentialsAnswer
	c.Do("POST", "/api/device/credentials", map[string]any{
		"deviceId": d.ID, "credentialsType": "MQTT_BASIC", "credentialsValue": `{"clientId":"c","userName":"u","password":"p"}`,
	}).Expect(200).JSON(&got)
	// Case 50: SHA3-256 of "c|u".
	if got.CredentialsID != "29cd886b96af386fd43e35097f8228b97209711642b8b65ebf118b288accb0ea" {
		t.Errorf("credentials id %q", got.CredentialsID)
	}
	c.Do("POST", "/api/device/credentials", map[string]any{"deviceId": d.ID, "credentialsType": "MQTT_BASIC", "credentialsValue": `{}`}).ExpectError(400, 31)
	c.Do("POST", "/api/device/credentials", map[string]any{"credentialsType": "ACCESS_TOKEN", "credentialsId": "x"}).ExpectError(400, 31)
	c.Do("POST", "/api/device/credentials", map[string]any{"deviceId": d.ID, "credentialsType": "ACCESS_TOKEN", "credentialsId": "A1_TEST_TOKEN"}).ExpectError(400, 31)
	made := create(t, c, "/api/device-with-credentials", `{"device":{"name":"D2"},"credentials":{"credentialsType":"ACCESS_TOKEN","credentialsId":"T2"}}`)
	c.Get("/api/device/"+made.ID.ID+"/credentials", &got)
	if got.CredentialsID != "T2" {
		t.Errorf("credentials %+v", got)
	}
}
