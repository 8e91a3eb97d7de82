package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

// importBody asks for the import of a table whose columns are types, or types with a key behind a colon.
func importBody(t *testing.T, file, delimiter string, header bool, columns ...string) string {
	t.Helper()
	type column struct {
		Type string `json:"type"`
		Key  string `json:"key,omitempty"`
	}
	var all []column
	for _, c := range columns {
		kind, key, _ := strings.Cut(c, ":")
		all = append(all, column{kind, key})
	}
	text, err := json.Marshal(map[string]any{"file": file, "mapping": map[string]any{"columns": all, "delimiter": delimiter, "header": header, "update": true}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

type imported struct {
	Created, Updated, Errors int
	ErrorsList               []string
}

func importDevices(t *testing.T, c *httpapitest.Client, body string) (result imported) {
	t.Helper()
	c.Do("POST", "/api/device/bulk_import", body).Expect(200).JSON(&result)
	return result
}

func TestDevicesOfATable(t *testing.T) {
	p := httpapitest.Start(t)
	c := p.Admin(t)
	file := "Name;Kind;Label;About;Gateway;Limit;Site;Level;Token\n" +
		"Old;meter;L1;\"first; it has a semicolon\";true;7;north;1.5;TOKEN_1\n" +
		"\n" +
		"New;;;;;;;true;\n" +
		";meter;;;;;;;\n" +
		"Bad;meter;;;perhaps;;;;\n" +
		"Copy;meter;;;;;;;TOKEN_1\n"
	create(t, c, "/api/device", `{"name":"Old","additionalInfo":{"kept":1}}`)
	body := importBody(t, file, ";", true,
		"NAME", "TYPE", "LABEL", "DESCRIPTION", "IS_GATEWAY", "SHARED_ATTRIBUTE:limit", "SERVER_ATTRIBUTE:site", "TIMESERIES:level", "ACCESS_TOKEN")
	want := imported{Created: 1, Updated: 1, Errors: 3}
	got := importDevices(t, c, body)
	lines := got.ErrorsList
	got.ErrorsList = nil
	if diff := cmp.Diff(want, got); diff != "" || len(lines) != 3 {
		t.Fatalf("result (-want +got):\n%s%q", diff, lines)
	}
	for i, prefix := range []string{"Line 5: ", "Line 6: IS_GATEWAY", "Line 7: "} {
		if !strings.HasPrefix(lines[i], prefix) {
			t.Errorf("%q does not begin with %q", lines[i], prefix)
		}
	}
	var old struct {
		deviceAnswer
		AdditionalInfo map[string]any
	}
	c.Get("/api/tenant/devices?deviceName=Old", &old)
	if old.Type != "meter" || *old.Label != "L1" {
		t.Errorf("type %q, label %q", old.Type, *old.Label)
	}
	if diff := cmp.Diff(map[string]any{"kept": 1.0, "description": "first; it has a semicolon", "gateway": true}, old.AdditionalInfo); diff != "" {
		t.Error(diff)
	}
	for path, want := range map[string]string{
		"/values/attributes/SHARED_SCOPE":                                `"key":"limit","value":7}`,
		"/values/attributes/SERVER_SCOPE":                                `"key":"site","value":"north"}`,
		"/values/timeseries?keys=level&useStrictDataTypes=true&limit=10": `"value":1.5}`,
	} {
		if text := string(c.Do("GET", "/api/plugins/telemetry/DEVICE/"+old.ID.ID+path, nil).Expect(200).Body); !strings.Contains(text, want) {
			t.Errorf("%s: %s does not contain %s", path, text, want)
		}
	}
	var held credentialsAnswer
	c.Get("/api/device/"+old.ID.ID+"/credentials", &held)
	if held.CredentialsType != "ACCESS_TOKEN" || held.CredentialsID != "TOKEN_1" {
		t.Errorf("credentials %+v", held)
	}
	// Once more, and nothing is made anew.
	if again := importDevices(t, c, body); again.Created != 0 || again.Updated != 2 || again.Errors != 3 {
		t.Errorf("again: %+v", again)
	}
	p.Customer(t).Do("POST", "/api/device/bulk_import", body).ExpectError(403, 20)
}

func TestImportedCredentials(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	file := "Basic,T1,client,user,secret\nKept,,,,\nRandom,,,,\n"
	create(t, c, "/api/device?accessToken=MINE", `{"name":"Kept"}`)
	if got := importDevices(t, c, importBody(t, file, "", false, "NAME", "ACCESS_TOKEN", "MQTT_CLIENT_ID", "MQTT_USER_NAME", "MQTT_PASSWORD")); got.Created != 2 || got.Updated != 1 {
		t.Fatalf("%+v", got)
	}
	of := func(name string) (held credentialsAnswer) {
		var d deviceAnswer
		c.Get("/api/tenant/devices?deviceName="+name, &d)
		c.Get("/api/device/"+d.ID.ID+"/credentials", &held)
		return held
	}
	if basic := of("Basic"); basic.CredentialsType != "MQTT_BASIC" || !strings.Contains(*basic.CredentialsValue, `"userName":"user"`) {
		t.Errorf("credentials %+v", basic)
	}
	if kept := of("Kept"); kept.CredentialsID != "MINE" {
		t.Errorf("credentials %+v", kept)
	}
	if random := of("Random"); random.CredentialsType != "ACCESS_TOKEN" || len(random.CredentialsID) != 20 {
		t.Errorf("credentials %+v", random)
	}
}

func TestTablesThatCannotBeRead(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	for name, body := range map[string]string{
		"no name":             importBody(t, "a", ",", false, "LABEL"),
		"an unknown column":   importBody(t, "a,b", ",", false, "NAME", "LWM2M_CLIENT_ENDPOINT"),
		"values without key":  importBody(t, "a,b", ",", false, "NAME", "TIMESERIES"),
		"a long delimiter":    importBody(t, "a,b", ",,", false, "NAME"),
		"a quote that is odd": importBody(t, "a\"b,c", ",", false, "NAME"),
	} {
		t.Run(name, func(t *testing.T) { c.Do("POST", "/api/device/bulk_import", body).ExpectError(400, 31) })
	}
}
