package system

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDeviceAPI runs the acceptance cases of the device API on one platform, groups of them side by side: each has devices of its own.
// A case's test begins with its id; whole groups are in the files deviceapi_*_test.go. One is run alone by -run 'TestDeviceAPI$/claims'.
func TestDeviceAPI(t *testing.T) {
	api := newDeviceAPI(t)
	for _, group := range deviceGroups {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			group.run(t, api)
		})
	}
}

// deviceGroups are the groups of cases, each a file's or two's.
var deviceGroups = []struct {
	name string
	run  func(t *testing.T, api *deviceAPI)
}{
	{"first", deviceFirst},
	{"http", deviceHTTP},
	{"values", deviceValues},
	{"mqtt", deviceMQTT},
	{"mqtt-data", deviceMQTTData},
	{"mqtt-rpc", deviceMQTTRPC},
	{"mqtt-credentials", deviceMQTTCredentials},
	{"claims", deviceClaims},
	{"mqtt-packages", deviceMQTTPackages},
	{"gateway", deviceGateway},
	{"coap", deviceCoAP},
	{"packages", devicePackages},
	{"limits", deviceLimits},
}

// deviceTime is the longest that what a device causes may take to be seen.
const deviceTime = 10 * time.Second

// deviceAPI is a platform and a tenant of it for the cases of the device API. Cases make their own devices and profiles.
type deviceAPI struct {
	platform Platform
	doors    Doors
	// administrator is the installation's, tenant an administrator of a tenant.
	administrator, tenant *Tenant
	// roots are what a TLS client believes.
	roots *x509.CertPool
}

// newDeviceAPI starts a platform with flags beside its own.
func newDeviceAPI(t *testing.T, flags ...string) *deviceAPI {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	certificates, roots := serverCertificate(t)
	platform := newSecurePlatform(ctx, t, certificates, flags...)
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	administrator := firstAdministrator(ctx, t, platform)
	tenant, err := administrator.NewTenant(ctx, unique("devices"))
	if err != nil {
		t.Fatal(err)
	}
	return &deviceAPI{platform: platform, doors: platform.Doors(), administrator: administrator, tenant: tenant, roots: roots}
}

// serverCertificate makes a folder with a certificate for 127.0.0.1 that signs itself, and what believes it.
func serverCertificate(t *testing.T) (folder string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := slices.Concat(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	)
	folder, roots = t.TempDir(), x509.NewCertPool()
	if err := os.WriteFile(filepath.Join(folder, "default.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	return folder, roots
}

// rest calls the API as the tenant and decodes the answer into answer, if that is not nil (*string: as it is).
func (a *deviceAPI) rest(t *testing.T, method, path string, body, answer any) {
	t.Helper()
	if err := a.tenant.call(t.Context(), method, path, body, answer); err != nil {
		t.Fatal(err)
	}
}

// device makes a device of the profile called kind ("" is default) and returns its id and its token.
func (a *deviceAPI) device(t *testing.T, kind string) (id, token string) {
	t.Helper()
	if kind == "" {
		kind = "default"
	}
	token = strings.ReplaceAll(unique("T"), "-", "")
	var made struct{ ID ref }
	a.rest(t, http.MethodPost, "/api/device?accessToken="+token, map[string]any{"name": unique("device"), "type": kind}, &made)
	return made.ID.ID, token
}

// profile makes a device profile with this transport type and configuration (profileData.transportConfiguration; nil is the type's
// default) and returns its name.
func (a *deviceAPI) profile(t *testing.T, transportType string, configuration map[string]any) string {
	t.Helper()
	if configuration == nil {
		configuration = map[string]any{"type": transportType}
	}
	name := unique("profile")
	a.rest(t, http.MethodPost, "/api/deviceProfile", map[string]any{
		"name": name, "type": "DEFAULT", "transportType": transportType, "provisionType": "DISABLED",
		"profileData": map[string]any{
			"configuration": map[string]any{"type": "DEFAULT"}, "transportConfiguration": configuration,
			"provisionConfiguration": map[string]any{"type": "DISABLED", "provisionDeviceSecret": nil},
		},
	}, nil)
	return name
}

// point is one stored value, as REST shows it with strict data types.
type point struct {
	TS    int64 `json:"ts"`
	Value any   `json:"value"`
}

// series reads all points of keys of a device, the newest first. Numbers are json.Number.
func (a *deviceAPI) series(t *testing.T, device string, keys ...string) map[string][]point {
	t.Helper()
	var text string
	a.rest(t, http.MethodGet, fmt.Sprintf(
		"/api/plugins/telemetry/DEVICE/%s/values/timeseries?keys=%s&startTs=-1000000&endTs=4102444800000&limit=1000&agg=NONE&useStrictDataTypes=true",
		device, url.QueryEscape(strings.Join(keys, ","))), nil, &text)
	var found map[string][]point
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&found); err != nil {
		t.Fatal(err)
	}
	return found
}

// attributes reads a device's attributes of a scope. Numbers are json.Number.
func (a *deviceAPI) attributes(t *testing.T, device, scope string) map[string]any {
	t.Helper()
	var text string
	a.rest(t, http.MethodGet, "/api/plugins/telemetry/DEVICE/"+device+"/values/attributes/"+scope, nil, &text)
	var found []struct {
		Key   string
		Value any
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&found); err != nil {
		t.Fatal(err)
	}
	values := make(map[string]any, len(found))
	for _, one := range found {
		values[one.Key] = one.Value
	}
	return values
}

// share writes shared attributes of a device.
func (a *deviceAPI) share(t *testing.T, device string, attributes map[string]any) {
	t.Helper()
	a.rest(t, http.MethodPost, "/api/plugins/telemetry/DEVICE/"+device+"/attributes/SHARED_SCOPE", attributes, nil)
}

// eventually asks until check is content, for as long as what a device causes may take.
func (a *deviceAPI) eventually(t *testing.T, check func() error) {
	t.Helper()
	eventually(t.Context(), t, deviceTime, check)
}

// anotherTenant is the same platform and a tenant that nobody else has.
func (a *deviceAPI) anotherTenant(t *testing.T) *deviceAPI {
	t.Helper()
	tenant, err := a.administrator.NewTenant(t.Context(), unique("another"))
	if err != nil {
		t.Fatal(err)
	}
	other := *a
	other.tenant = tenant
	return &other
}

// deviceFirst checks the scene itself: a reading that a device posts is found.
func deviceFirst(t *testing.T, a *deviceAPI) {
	t.Run("H01 a reading is stored", func(t *testing.T) {
		device, token := a.device(t, "")
		response, err := http.Post("http://"+a.doors.HTTP+"/api/v1/"+token+"/telemetry", "application/json", strings.NewReader(`{"t":1}`))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatal(response.Status)
		}
		a.eventually(t, func() error {
			if found := a.series(t, device, "t")["t"]; len(found) != 1 || found[0].Value != json.Number("1") {
				return fmt.Errorf("stored %v", found)
			}
			return nil
		})
	})
}
