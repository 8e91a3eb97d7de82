package system

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
)

// deviceCoAP are the cases of CoAP (device-api §8.6).
func deviceCoAP(t *testing.T, a *deviceAPI) {
	t.Run("requests", func(t *testing.T) { coapRequests(t, a) })
	t.Run("observe", func(t *testing.T) { coapObserving(t, a) })
	t.Run("rpc", func(t *testing.T) { coapRPC(t, a) })
	t.Run("dtls", func(t *testing.T) { coapSecure(t, a) })
	t.Run("provision", func(t *testing.T) { coapProvision(t, a) })
	t.Run("sleep", func(t *testing.T) { coapSleeping(t, a) })
}

// newest waits until a device has that value as the newest of t.
func (a *deviceAPI) newest(t *testing.T, device, want string) {
	t.Helper()
	a.eventually(t, func() error {
		if found := a.series(t, device, "t")["t"]; len(found) == 0 || fmt.Sprint(found[0].Value) != want {
			return fmt.Errorf("stored %v", found)
		}
		return nil
	})
}

// coapRequests are the cases of one request and its answer.
func coapRequests(t *testing.T, a *deviceAPI) {
	device, token := a.device(t, "")
	_, ofMQTT := a.device(t, a.profile(t, "MQTT", nil))
	c := coapDial(t, a.doors.CoAP)
	api := "api/v1/" + token
	for _, one := range []struct {
		name    string
		request coapRequest
		status  int
	}{
		{"C01 telemetry", coapRequest{code: coapPost, path: api + "/telemetry", payload: `{"t":1}`}, 201},
		{"C02 unknown token", coapRequest{code: coapPost, path: "api/v1/nobody/telemetry", payload: `{"t":1}`}, 401},
		{"C03 malformed", coapRequest{code: coapPost, path: api + "/telemetry", payload: `x{`}, 400},
		{"C04 missing attribute", coapRequest{code: coapGet, path: api + "/attributes", query: []string{"clientKeys=a"}}, 404},
		{"C09 GET telemetry", coapRequest{code: coapGet, path: api + "/telemetry"}, 400},
		{"C09 PUT", coapRequest{code: coapPut, path: api + "/telemetry", payload: `{}`}, 405},
		{"C09 unknown feature", coapRequest{code: coapPost, path: api + "/unknown", payload: `{}`}, 400},
		{"C10 profile of MQTT", coapRequest{code: coapPost, path: "api/v1/" + ofMQTT + "/telemetry", payload: `{"t":1}`}, 500},
		{"C12 claim", coapRequest{code: coapPost, path: api + "/claim"}, 201},
		{"C18 non-confirmable", coapRequest{code: coapPost, path: api + "/telemetry", payload: `{"t":18}`, non: true}, 201},
		{"C19 path in one option", coapRequest{code: coapPost, path: api + "/telemetry", payload: `{"t":19}`, whole: true}, 201},
	} {
		t.Run(one.name, func(t *testing.T) {
			m := c.do(one.request)
			if m.status() != one.status {
				t.Fatalf("%d %s", m.status(), m.payload)
			}
			if want := map[bool]byte{false: 2, true: 1}[one.request.non]; one.status == 201 && m.kind != want && m.kind != 0 {
				t.Errorf("answered in a message of type %d", m.kind)
			}
		})
	}
	a.newest(t, device, "19")
	t.Run("C04 attributes", func(t *testing.T) {
		if m := c.do(coapRequest{code: coapPost, path: api + "/attributes", payload: `{"a":1}`}); m.status() != 201 {
			t.Fatalf("%d %s", m.status(), m.payload)
		}
		a.eventually(t, func() error {
			m := c.do(coapRequest{code: coapGet, path: api + "/attributes", query: []string{"clientKeys=a"}})
			if m.status() != 205 || m.options[coapFormat] != 50 || !sameJSON([]byte(m.payload), `{"client":{"a":1}}`) {
				return fmt.Errorf("%d %s", m.status(), m.payload)
			}
			return nil
		})
	})
	t.Run("C15 upload in blocks", func(t *testing.T) {
		body := `{"t":"` + strings.Repeat("x", 5<<10) + `"}`
		for n := 0; len(body) > 0; n++ {
			part := body[:min(1024, len(body))]
			body = body[len(part):]
			block, want := n<<4|6, 201
			if len(body) > 0 {
				block, want = block|8, 231
			}
			if m := c.do(coapRequest{code: coapPost, path: api + "/telemetry", payload: part, block1: block + 1}); m.status() != want {
				t.Fatalf("block %d: %d %s", n, m.status(), m.payload)
			}
		}
		a.newest(t, device, strings.Repeat("x", 5<<10))
	})
}

// coapObserving are the cases of observed attributes.
func coapObserving(t *testing.T, a *deviceAPI) {
	device, token := a.device(t, "")
	path := "api/v1/" + token + "/attributes"
	a.share(t, device, map[string]any{"k": 1})
	first, second := coapDial(t, a.doors.CoAP), coapDial(t, a.doors.CoAP)
	t.Run("C05 attributes", func(t *testing.T) {
		m := first.do(coapRequest{code: coapGet, path: path, observe: 1, token: "one"})
		if sequence, ok := m.options[coapObserve]; m.status() != 205 || !ok || sequence != 0 || !sameJSON([]byte(m.payload), `{"k":1}`) {
			t.Fatalf("%d %s, Observe %d", m.status(), m.payload, sequence)
		}
		a.share(t, device, map[string]any{"k": 2})
		if m := first.notification("one"); m.status() != 205 || m.options[coapObserve] != 1 || m.kind != 0 || !sameJSON([]byte(m.payload), `{"k":2}`) {
			t.Fatalf("%d %s, Observe %d", m.status(), m.payload, m.options[coapObserve])
		}
	})
	t.Run("C07 another observer", func(t *testing.T) {
		second.do(coapRequest{code: coapGet, path: path, observe: 1, token: "two"})
		if m := first.notification("one"); m.status() != 202 {
			t.Fatalf("the first got %d", m.status())
		}
		a.share(t, device, map[string]any{"k": 3})
		if m := second.notification("two"); !sameJSON([]byte(m.payload), `{"k":3}`) {
			t.Fatalf("%s", m.payload)
		}
		first.silent()
	})
	t.Run("C08 no more", func(t *testing.T) {
		if m := second.do(coapRequest{code: coapGet, path: path, observe: 2, token: "two"}); m.status() != 202 {
			t.Fatalf("%d", m.status())
		}
		a.share(t, device, map[string]any{"k": 4})
		second.silent()
	})
}

// coapRPC are the cases of requests to a device.
func coapRPC(t *testing.T, a *deviceAPI) {
	t.Run("C06 two-way", func(t *testing.T) {
		device, token := a.device(t, "")
		c := coapDial(t, a.doors.CoAP)
		m := c.do(coapRequest{code: coapGet, path: "api/v1/" + token + "/rpc", observe: 1, token: "rpc"})
		if sequence, ok := m.options[coapObserve]; m.status() != 203 || !ok || sequence != 0 || m.payload != "" {
			t.Fatalf("%d %s", m.status(), m.payload)
		}
		answered := make(chan error, 1)
		go func() {
			var answer string
			err := a.tenant.call(t.Context(), http.MethodPost, "/api/rpc/twoway/"+device,
				map[string]any{"method": "m", "params": map[string]any{"p": 1}, "timeout": 10000}, &answer)
			if err == nil && !sameJSON([]byte(answer), `{"ok":1}`) {
				err = fmt.Errorf("answered %s", answer)
			}
			answered <- err
		}()
		m = c.notification("rpc")
		var request struct {
			ID     int
			Method string
			Params json.RawMessage
		}
		if err := json.Unmarshal([]byte(m.payload), &request); err != nil || request.Method != "m" || !sameJSON(request.Params, `{"p":1}`) {
			t.Fatalf("%s: %v", m.payload, err)
		}
		reply := coapRequest{code: coapPost, path: fmt.Sprintf("api/v1/%s/rpc/%d", token, request.ID), payload: `{"ok":1}`}
		if m := c.do(reply); m.status() != 201 {
			t.Fatalf("%d %s", m.status(), m.payload)
		}
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
	})
}

// coapSecure are the cases of DTLS.
func coapSecure(t *testing.T, a *deviceAPI) {
	device, token := a.device(t, "")
	dial := func(options ...dtls.ClientOption) *coapClient {
		to, err := net.ResolveUDPAddr("udp4", a.doors.CoAPS)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := dtls.DialWithOptions("udp4", to, append([]dtls.ClientOption{dtls.WithRootCAs(a.roots), dtls.WithServerName("localhost")}, options...)...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), deviceTime)
		defer cancel()
		if err := conn.HandshakeContext(ctx); err != nil {
			t.Fatal(err)
		}
		return coapOver(t, conn)
	}
	own, text := deviceCertificate(t)
	telemetry := coapRequest{code: coapPost, path: "api/v1/telemetry", payload: `{"t":13}`}
	t.Run("C14 unknown certificate", func(t *testing.T) {
		c := dial(dtls.WithCertificates(own))
		if m := c.do(telemetry); m.status() != 401 {
			t.Errorf("%d", m.status())
		}
		if m := c.do(coapRequest{code: coapPost, path: "api/v1/" + token + "/telemetry", payload: `{"t":14}`}); m.status() != 201 {
			t.Errorf("with a token: %d", m.status())
		}
	})
	t.Run("C13 known certificate", func(t *testing.T) {
		var credentials map[string]any
		a.rest(t, http.MethodGet, "/api/device/"+device+"/credentials", nil, &credentials)
		credentials["credentialsType"], credentials["credentialsValue"], credentials["credentialsId"] = "X509_CERTIFICATE", text, nil
		a.rest(t, http.MethodPost, "/api/device/credentials", credentials, nil)
		c := dial(dtls.WithCertificates(own))
		a.eventually(t, func() error {
			if m := c.do(telemetry); m.status() != 201 {
				return fmt.Errorf("%d %s", m.status(), m.payload)
			}
			return nil
		})
		a.newest(t, device, "13")
	})
}

// deviceCertificate is one that its device signed, and its text.
func deviceCertificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "device"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// coapProvision is the case of a device that comes for credentials.
func coapProvision(t *testing.T, a *deviceAPI) {
	_, key := a.provisioningProfile(t, "ALLOW_CREATE_NEW_DEVICES", map[string]any{
		"type": "ALLOW_CREATE_NEW_DEVICES", "provisionDeviceSecret": "secret",
	})
	c := coapDial(t, a.doors.CoAP)
	ask := func(t *testing.T, secret string, status int) (answer struct{ Status, CredentialsValue string }) {
		t.Helper()
		m := c.do(coapRequest{code: coapPost, path: "api/v1/provision", payload: fmt.Sprintf(
			`{"deviceName":%q,"provisionDeviceKey":%q,"provisionDeviceSecret":%q}`, unique("new"), key, secret)})
		if err := json.Unmarshal([]byte(m.payload), &answer); err != nil || m.status() != status {
			t.Fatalf("%d %s, want %d: %v", m.status(), m.payload, status, err)
		}
		return answer
	}
	t.Run("C11 good", func(t *testing.T) {
		answer := ask(t, "secret", 201)
		if answer.Status != "SUCCESS" {
			t.Fatalf("answered %+v", answer)
		}
		m := c.do(coapRequest{code: coapPost, path: "api/v1/" + answer.CredentialsValue + "/telemetry", payload: `{"t":1}`})
		if m.status() != 201 {
			t.Errorf("with what it got: %d %s", m.status(), m.payload)
		}
	})
	t.Run("C11 wrong secret", func(t *testing.T) {
		if answer := ask(t, "wrong", 400); answer.Status != "NOT_FOUND" {
			t.Errorf("answered %+v", answer)
		}
	})
}

// coapSleeping is the case of a device that saves power.
func coapSleeping(t *testing.T, a *deviceAPI) {
	t.Run("C17 PSM", func(t *testing.T) {
		device, token := a.device(t, a.profile(t, "COAP", map[string]any{
			"type": "COAP", "clientSettings": map[string]any{"powerMode": "PSM", "psmActivityTimer": 1000},
		}))
		c := coapDial(t, a.doors.CoAP)
		c.do(coapRequest{code: coapGet, path: "api/v1/" + token + "/attributes", observe: 1, token: "sleep"})
		time.Sleep(1500 * time.Millisecond) // the device's own clock: there is nothing to wait for
		a.share(t, device, map[string]any{"k": 1})
		a.share(t, device, map[string]any{"l": 2})
		c.silent()
		c.do(coapRequest{code: coapPost, path: "api/v1/" + token + "/telemetry", payload: `{"t":17}`})
		if m := c.notification("sleep"); !sameJSON([]byte(m.payload), `{"k":1,"l":2}`) {
			t.Fatalf("%s", m.payload)
		}
	})
}
