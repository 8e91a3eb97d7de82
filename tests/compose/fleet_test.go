//go:build compose

package compose

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/system"
)

const (
	maxImage      = 45 << 20
	maxCompressed = 16 << 20
	deviceCount   = 60
)

// TestImageIsSmall: one image for all roles, in the floors the project promises.
func TestImageIsSmall(t *testing.T) {
	text, err := exec.CommandContext(t.Context(), "docker", "image", "inspect", "-f", "{{.Size}}", "sluice:test").Output()
	if err != nil {
		t.Fatal(err)
	}
	size, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := exec.CommandContext(t.Context(), "docker", "save", "sluice:test").Output()
	if err != nil {
		t.Fatal(err)
	}
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	if _, err := writer.Write(layers); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("image: %.1f MB, %.1f MB compressed", float64(size)/1e6, float64(compressed.Len())/1e6)
	if size == 0 || size > maxImage || compressed.Len() > maxCompressed {
		t.Errorf("image of %d bytes, %d compressed; at most %d and %d", size, compressed.Len(), maxImage, maxCompressed)
	}
}

// TestRefusesWithoutSecrets: a missing file stops the start, it is not replaced by an empty one.
func TestRefusesWithoutSecrets(t *testing.T) {
	f := install(t.Context(), t)
	if err := os.Remove(filepath.Join(f.folder, "secrets", "redis_conf")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Compose(t.Context(), "up", "-d", "--no-build", "redis"); err == nil || !strings.Contains(err.Error(), "redis_conf") {
		t.Errorf("started without secrets/redis_conf: %v", err)
	}
}

// TestFleet brings the fleet up, lets devices publish through the balancer, scales under them, and holds
// what was acknowledged against what is stored.
func TestFleet(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	f := install(ctx, t)
	began := time.Now()
	if err := f.Scale(ctx, 1, 1, 1); err != nil {
		t.Fatal(err)
	}
	t.Logf("up and healthy after %.0f s", time.Since(began).Seconds())
	t.Run("the walls stand", func(t *testing.T) { walls(ctx, t, f) })
	t.Run("the door is shut to who has no business", func(t *testing.T) { door(ctx, t, f) })

	tenant := firstTenant(ctx, t, f)
	fleet := newDevices(ctx, t, f, tenant, deviceCount)
	t.Run("clients nobody here wrote", func(t *testing.T) { clients(ctx, t, f, tenant) })
	if err := tenant.UseScripts(ctx); err != nil { // every reading runs through two from now on
		t.Fatal(err)
	}
	var download func(*testing.T)
	stop := fleet.run(ctx, t)
	fleet.goOn(ctx, t)
	for _, step := range []struct{ core, mqtt, http int }{{3, 1, 2}, {3, 2, 2}, {3, 1, 1}, {1, 1, 1}} {
		began := time.Now()
		if err := f.Scale(ctx, step.core, step.mqtt, step.http); err != nil {
			t.Fatal(err)
		}
		f.awaitServers(ctx, t, step.core, step.mqtt, step.http)
		fleet.goOn(ctx, t)
		t.Logf("core-node=%d mqtt-transport=%d http-transport=%d after %.0f s, %d readings acknowledged",
			step.core, step.mqtt, step.http, time.Since(began).Seconds(), fleet.acknowledged())
		if download == nil {
			download = packages(ctx, t, f, tenant)
		}
		t.Run(fmt.Sprintf("a firmware for a device, with %d core nodes", step.core), download)
	}
	t.Run("twenty script executors", func(t *testing.T) { executors(ctx, t, f) })
	stop()
	total := fleet.check(ctx, t, tenant)
	t.Logf("%d devices through the balancer, scaled 1-3-1 and 1-2-1: sent %d, acknowledged %d, stored %d, lost %d, duplicates %d, resent %d",
		deviceCount, total.Sent, total.Acknowledged, total.Stored, len(total.Lost), total.Duplicates, total.Resent)
	if len(total.Lost) > 0 {
		letters, err := f.Compose(ctx, "exec", "-T", "core-node", "/sluice", "dead-letters", "list")
		lines := strings.Split(letters, "\n")
		t.Logf("%d lines of dead letters (%v), such as\n%s", len(lines), err, strings.Join(lines[:min(len(lines), 12)], "\n"))
	}
	t.Run("Prometheus finds everyone", func(t *testing.T) { monitoring(ctx, t, f) })
}

// install makes an installation that is taken down with the test.
func install(ctx context.Context, t *testing.T) *Fleet {
	t.Helper()
	compose := os.Getenv("SLUICE_TEST_COMPOSE")
	if compose == "" {
		t.Fatal("SLUICE_TEST_COMPOSE does not name the compose program: run `make test-compose`")
	}
	f, err := Install(ctx, "../../deploy", t.TempDir(), compose)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", f.Certificate()) // read at the first handshake
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if t.Failed() {
			state, stateErr := f.Compose(ctx, "--profile", "*", "ps", "-a")
			logs, logsErr := f.Compose(ctx, "--profile", "*", "logs", "--no-color", "--tail", "40")
			t.Logf("%s\n%s\n%v", state, logs, errors.Join(stateErr, logsErr))
		}
		down := func() error {
			_, err := f.Compose(ctx, "--profile", "*", "down", "-v", "--remove-orphans")
			return err
		}
		if down() == nil {
			return
		}
		if err := down(); err != nil { // the engine may still count a stopped container among a network's
			t.Error(err)
		}
	})
	return f
}

// walls asks the engine whether containers are what the compose file wants.
func walls(ctx context.Context, t *testing.T, f *Fleet) {
	containers, err := f.Containers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(containers) != 11 {
		t.Errorf("%d containers, want 11", len(containers))
	}
	for _, c := range containers {
		h := c.HostConfig
		if !h.ReadonlyRootfs || !slices.Contains(h.CapDrop, "ALL") || h.Memory == 0 || h.PidsLimit == 0 ||
			!slices.Contains(h.SecurityOpt, "no-new-privileges:true") || c.Config.User == "" {
			t.Errorf("%s: %+v, user %q", c.Name, h, c.Config.User)
		}
		for port, published := range c.NetworkSettings.Ports {
			for _, p := range published {
				if !strings.Contains(c.Name, "haproxy") && !strings.Contains(c.Name, "coap-transport") {
					t.Errorf("%s publishes %s", c.Name, port)
				}
				if p.HostIP != "127.0.0.1" {
					t.Errorf("%s publishes %s on %s in a test", c.Name, port, p.HostIP)
				}
			}
		}
	}
}

// executors scales the executors to twenty, all healthy, and back to one.
func executors(ctx context.Context, t *testing.T, f *Fleet) {
	t.Helper()
	for _, want := range []int{20, 1} {
		began := time.Now()
		if _, err := f.Compose(ctx, "up", "-d", "--wait", "--no-build", "--no-recreate", "--scale", "js-executor="+strconv.Itoa(want)); err != nil {
			t.Fatal(err)
		}
		out, err := f.Compose(ctx, "ps", "--status", "running", "-q", "js-executor")
		if err != nil {
			t.Fatal(err)
		}
		if got := len(strings.Fields(out)); got != want {
			t.Fatalf("%d executors run, want %d", got, want)
		}
		t.Logf("js-executor=%d after %.0f s", want, time.Since(began).Seconds())
	}
}

var firstPassword = regexp.MustCompile(`(\S+@\S+) / (\S+)`)

// firstTenant logs in with what init printed, and makes a tenant.
func firstTenant(ctx context.Context, t *testing.T, f *Fleet) *system.Tenant {
	t.Helper()
	out, err := f.Compose(ctx, "logs", "--no-log-prefix", "init")
	if err != nil {
		t.Fatal(err)
	}
	match := firstPassword.FindStringSubmatch(out)
	if match == nil {
		t.Fatalf("init printed no credentials: %s", out)
	}
	administrator, err := system.Login(ctx, "https://"+f.HTTPS, match[1], match[2])
	if err != nil {
		t.Fatal(err)
	}
	tenant, err := administrator.NewTenant(ctx, "acme")
	if err != nil {
		t.Fatal(err)
	}
	return tenant
}

var activeServers = regexp.MustCompile(`haproxy_backend_active_servers\{proxy="(\w+)"\} (\d+)`)

// awaitServers waits until the balancer uses these many servers.
func (f *Fleet) awaitServers(ctx context.Context, t *testing.T, core, mqtt, http int) {
	t.Helper()
	want := map[string]string{"core_node": fmt.Sprint(core), "mqtt": fmt.Sprint(mqtt), "http_transport": fmt.Sprint(http)}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		text, status, err := f.ask(ctx, "/metrics")
		if err != nil || status != 200 {
			t.Fatalf("the balancer's metrics: %d %v", status, err)
		}
		missing := 0
		for backend, count := range want {
			if !strings.Contains(text, fmt.Sprintf("haproxy_backend_active_servers{proxy=%q} %s\n", backend, count)) {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the balancer sees %v, want %v", activeServers.FindAllString(text, -1), want)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// ask gets a page of the operators' listener.
func (f *Fleet) ask(ctx context.Context, path string) (string, int, error) {
	password, err := f.Secret("operators_password")
	if err != nil {
		return "", 0, err
	}
	answer, err := get(ctx, "https://"+f.Operators+path, "operator", password)
	if err != nil {
		return "", 0, err
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(answer.Body)
	return string(text), answer.StatusCode, err
}
