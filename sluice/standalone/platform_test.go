package standalone

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/sluice/internal/simulator"
)

// maxStart bounds the time from New to a served reading, on a machine busy with other tests.
const maxStart = 5 * time.Second

// run starts a platform; stop ends it and waits.
func run(t *testing.T, c Config) (p *Platform, stop func()) {
	t.Helper()
	p, err := New(t.Context(), c, environment())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	t.Cleanup(stop)
	return p, stop
}

func environment() process.Env {
	registry := prometheus.NewRegistry()
	return process.Env{Log: slog.New(slog.DiscardHandler), Metrics: registry, Gatherer: registry, Health: &process.Health{}}
}

func testConfig(t *testing.T) Config {
	t.Helper()
	c, err := DefaultConfig(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// person is somebody at the REST API.
type person struct {
	base, token string
}

func logIn(t *testing.T, address, user, password string) person {
	t.Helper()
	p := person{base: "http://" + address}
	var tokens struct{ Token string }
	p.ask(t, http.MethodPost, "/api/auth/login", map[string]string{"username": user, "password": password}, &tokens)
	p.token = tokens.Token
	return p
}

func (p person) ask(t *testing.T, method, path string, body, answer any) {
	t.Helper()
	var in bytes.Buffer
	if err := json.NewEncoder(&in).Encode(body); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, p.base+path, &in)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Authorization", "Bearer "+p.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s", method, path, response.Status, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		t.Fatalf("%s %s: %s: %v", method, path, text, err)
	}
}

// series reads a key of a device, by the device's name, over all time.
func (p person) series(t *testing.T, device, key string) (values []string) {
	t.Helper()
	var found struct {
		ID struct{ ID string }
	}
	p.ask(t, http.MethodGet, "/api/tenant/devices?deviceName="+url.QueryEscape(device), nil, &found)
	var answer map[string][]struct{ Value string }
	path := fmt.Sprintf("/api/plugins/telemetry/DEVICE/%s/values/timeseries?keys=%s&startTs=0&endTs=4102444800000&orderBy=ASC&limit=1000", found.ID.ID, key)
	p.ask(t, http.MethodGet, path, nil, &answer)
	for _, point := range answer[key] {
		values = append(values, point.Value)
	}
	return values
}

// TestFromSocketToQuery sends readings over the three protocols, finds them by REST, and finds
// them again after a restart.
func TestFromSocketToQuery(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	config := testConfig(t)
	config.Demo = true
	begun := time.Now()
	platform, stop := run(t, config)
	built := time.Since(begun)

	steady := func(key string) []simulator.Sensor {
		return []simulator.Sensor{{Key: key, Middle: 21.5, Period: time.Minute}}
	}
	at := platform.Addresses()
	devices := simulator.New([]simulator.Device{
		{Token: "A1_TEST_TOKEN", Protocol: simulator.MQTT, Sensors: steady("byMQTT")},
		{Token: "A1_TEST_TOKEN", Protocol: simulator.HTTP, Sensors: steady("byHTTP")},
		{Token: "A1_TEST_TOKEN", Protocol: simulator.CoAP, Sensors: steady("byCoAP")},
	}, simulator.Addresses{MQTT: at.MQTT, HTTP: at.HTTP, CoAP: at.CoAP}, 10*time.Millisecond)
	ctx, silence := context.WithCancel(t.Context())
	silent := make(chan error, 1)
	go func() { silent <- devices.Run(ctx) }()
	for devices.Acknowledged() == 0 && time.Since(begun) < maxStart {
		time.Sleep(time.Millisecond)
	}
	t.Logf("built in %s, first reading acknowledged after %s", built, time.Since(begun))
	if devices.Acknowledged() == 0 {
		t.Fatalf("no reading was acknowledged within %s", maxStart)
	}

	person := logIn(t, at.HTTP, "tenant@thingsboard.org", "tenant")
	keys := []string{"byMQTT", "byHTTP", "byCoAP"}
	for _, key := range keys {
		for deadline := time.Now().Add(10 * time.Second); len(person.series(t, "Test Device A1", key)) < 3; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s did not arrive; failed attempts: %d", key, devices.Failed())
			}
		}
	}
	silence()
	<-silent
	stop()

	platform, _ = run(t, config)
	person = logIn(t, platform.Addresses().HTTP, "tenant@thingsboard.org", "tenant")
	stored := 0
	for _, key := range keys {
		values := person.series(t, "Test Device A1", key)
		stored += len(values)
		if len(values) < 3 || strings.Trim(strings.Join(values, ""), "21.50") != "" {
			t.Errorf("after the restart %s is %q", key, values)
		}
	}
	if stored < int(devices.Acknowledged()) {
		t.Errorf("%d readings were acknowledged, %d are stored", devices.Acknowledged(), stored)
	}
}

func TestFirstLoginIsShownOnce(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	config := testConfig(t)
	platform, stop := run(t, config)
	user, password := platform.FirstLogin()
	if user == "" || len(password) < 16 {
		t.Fatalf("the first start made %q with a password of %d characters", user, len(password))
	}
	logIn(t, platform.Addresses().HTTP, user, password)
	stop()
	platform, _ = run(t, config)
	if again, _ := platform.FirstLogin(); again != "" {
		t.Errorf("the second start made %q", again)
	}
	logIn(t, platform.Addresses().HTTP, user, password)
}

func TestAFailedStartLeavesNothing(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	config := testConfig(t)
	platform, stop := run(t, config)

	if _, err := New(t.Context(), config, environment()); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second process in the folder: %v", err)
	}
	other := testConfig(t)
	other.HTTPListen = platform.Addresses().HTTP
	if _, err := New(t.Context(), other, environment()); err == nil || !strings.Contains(err.Error(), "http-listen") {
		t.Errorf("a second process at the address: %v", err)
	}
	stop()
	run(t, other) // its folder was let go
}
