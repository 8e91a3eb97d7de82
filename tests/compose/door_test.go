//go:build compose

package compose

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sluice-iot/sluice/tests/system"
)

func get(ctx context.Context, url, user, password string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	client := http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return client.Do(request)
}

// door tries what must not get through, and what must.
func door(ctx context.Context, t *testing.T, f *Fleet) {
	for _, c := range []struct {
		name, url, user, password string
		status                    int
	}{
		{"people are sent to HTTPS", "http://" + f.HTTP + "/api/auth/user", "", "", http.StatusPermanentRedirect},
		{"devices are not", "http://" + f.HTTP + "/api/v1/WRONG/attributes", "", "", http.StatusUnauthorized},
		{"core nodes answer by HTTPS", "https://" + f.HTTPS + "/api/auth/user", "", "", http.StatusUnauthorized},
		{"nobody answers challenges now", "http://" + f.HTTP + "/.well-known/acme-challenge/x", "", "", http.StatusServiceUnavailable},
		{"statistics need a password", "https://" + f.Operators + "/stats", "", "", http.StatusUnauthorized},
		{"and not a common one", "https://" + f.Operators + "/stats", "admin", "admin", http.StatusUnauthorized},
		{"metrics need it, too", "https://" + f.Operators + "/metrics", "operator", "operator", http.StatusUnauthorized},
	} {
		answer, err := get(ctx, c.url, c.user, c.password)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		answer.Body.Close() //nolint:errcheck // its status is all that matters
		if answer.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", c.name, answer.StatusCode, c.status)
		}
	}
	for _, address := range []string{f.MQTT, f.MQTTS} { // a browser gone astray, a PROXY line from nowhere
		for _, first := range []string{"GET / HTTP/1.1\r\n\r\n", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02"} {
			if got := exchange(t, address, first); got != "" {
				t.Errorf("%s answered %q to %q", address, got, first)
			}
		}
	}
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", f.HTTPS, &tls.Config{MinVersion: version, MaxVersion: version})
		if (err == nil) != ok {
			t.Errorf("TLS %x: %v", version, err)
		}
		if err == nil {
			conn.Close() //nolint:errcheck // nothing was written
		}
	}
}

// exchange writes first and returns what comes back until the connection ends, which it must soon.
func exchange(t *testing.T, address, first string) string {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // it was read to its end
	if err := conn.SetDeadline(time.Now().Add(8 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(first)); err != nil {
		return ""
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Errorf("%s keeps a connection open that said %q", address, first)
	}
	return string(answer[:n])
}

// clients publish with mosquitto over TCP and TLS, curl, libcoap, and MQTT over WebSocket.
func clients(ctx context.Context, t *testing.T, f *Fleet, tenant *system.Tenant) {
	device, err := tenant.NewDevice(ctx, "foreign", "FOREIGN0TOKEN")
	if err != nil {
		t.Fatal(err)
	}
	host, mqttPort, _ := strings.Cut(f.MQTT, ":")
	_, mqttsPort, _ := strings.Cut(f.MQTTS, ":")
	publish := func(port string, more ...string) []string {
		return append([]string{"mosquitto_pub", "-h", host, "-p", port, "-q", "1", "-u", "FOREIGN0TOKEN", "-t", "v1/devices/me/telemetry"}, more...)
	}
	url := "/api/v1/FOREIGN0TOKEN/telemetry"
	for key, args := range map[string][]string{
		"tcp":   publish(mqttPort, "-m", `{"tcp":7}`),
		"tls":   publish(mqttsPort, "--cafile", f.Certificate(), "-m", `{"tls":7}`),
		"http":  {"curl", "-fsS", "http://" + f.HTTP + url, "-d", `{"http":7}`},
		"https": {"curl", "-fsS", "--cacert", f.Certificate(), "https://" + f.HTTPS + url, "-d", `{"https":7}`},
		"coap":  {"coap-client-notls", "-B", "5", "-m", "post", "coap://" + f.CoAP + url, "-e", `{"coap":7}`},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil || key == "coap" && len(out) > 0 {
			t.Errorf("%s: %v %s", strings.Join(args, " "), err, out)
			continue
		}
		awaitRow(ctx, t, tenant, device, key)
	}
	socket, _, err := websocket.Dial(ctx, "wss://"+f.HTTPS+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow() //nolint:errcheck // the exchange is over
	connect := "\x10\x1b\x00\x04MQTT\x04\x82\x00\x3c\x00\x00\x00\x0dFOREIGN0TOKEN"
	if err := socket.Write(ctx, websocket.MessageBinary, []byte(connect)); err != nil {
		t.Fatal(err)
	}
	if _, connack, err := socket.Read(ctx); err != nil || string(connack) != "\x20\x02\x00\x00" {
		t.Errorf("CONNACK over WebSocket: % x %v", connack, err)
	}
}

func awaitRow(ctx context.Context, t *testing.T, tenant *system.Tenant, device, key string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		rows, err := tenant.Rows(ctx, device, key)
		if err == nil && len(rows) == 1 && rows[0].N == 7 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("published by %s: %v %v", key, rows, err)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// monitoring starts Prometheus beside the fleet: it must find every instance and understand every alert.
func monitoring(ctx context.Context, t *testing.T, f *Fleet) {
	if _, err := f.Compose(ctx, "up", "-d", "--wait", "--no-deps", "prometheus"); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(40 * time.Second)
	for {
		err := scraped(ctx, f)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
	text, _, err := f.ask(ctx, "/prometheus/api/v1/rules")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &rules); err != nil {
		t.Fatal(err)
	}
	for _, group := range rules.Data.Groups {
		for _, rule := range group.Rules {
			if rule.Health == "err" {
				t.Errorf("alert %s: %s", rule.Name, rule.LastError)
			}
		}
	}
	if len(rules.Data.Groups) == 0 {
		t.Error("no alerts")
	}
}

// scraped says what is missing until each job has a target that is up.
func scraped(ctx context.Context, f *Fleet) error {
	text, status, err := f.ask(ctx, "/prometheus/api/v1/targets")
	if err != nil {
		return err
	}
	var targets struct {
		Data struct {
			ActiveTargets []struct {
				Labels            map[string]string
				Health, LastError string
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &targets); err != nil {
		return fmt.Errorf("targets: %d %w", status, err)
	}
	missing := map[string]string{"core-node": "none", "mqtt-transport": "none", "http-transport": "none", "coap-transport": "none", "haproxy": "none"}
	for _, target := range targets.Data.ActiveTargets {
		if target.Health == "up" {
			delete(missing, target.Labels["job"])
		} else {
			missing[target.Labels["job"]] = target.LastError
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not scraped: %v", missing)
	}
	return nil
}
