package deploy

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

func project(t *testing.T) *types.Project {
	t.Helper()
	p, err := Load(t.Context(), "SLUICE_IMAGE=sluice:test")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Services) < 10 {
		t.Fatalf("only %d services", len(p.Services))
	}
	return p
}

// each runs check for every service, as a test of its own.
func each(t *testing.T, check func(*testing.T, types.ServiceConfig)) {
	t.Helper()
	for name, service := range project(t).Services {
		t.Run(name, func(t *testing.T) { check(t, service) })
	}
}

// TestRefusesWithoutInit: without what init writes there is nothing to run, and the message says what to do.
func TestRefusesWithoutInit(t *testing.T) {
	_, err := Load(t.Context())
	if err == nil || !strings.Contains(err.Error(), "run ./init first") {
		t.Errorf("loaded without .env: %v", err)
	}
}

// TestEveryContainerIsWalledIn: what a part that was taken over could do to its host.
func TestEveryContainerIsWalledIn(t *testing.T) {
	each(t, func(t *testing.T, s types.ServiceConfig) {
		if !s.ReadOnly {
			t.Error("its root file system is writable: read_only")
		}
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged {
			t.Error("it keeps capabilities: cap_drop ALL, no cap_add, not privileged")
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Error("it may gain privileges: no-new-privileges")
		}
		if user, _, _ := strings.Cut(s.User, ":"); user == "" || user == "0" || user == "root" {
			t.Errorf("it runs as %q: user must be a number other than 0", s.User)
		}
		if s.Deploy.Resources.Limits.Pids == 0 {
			t.Error("it may have any number of threads: deploy.resources.limits.pids")
		}
		limits := s.Deploy.Resources.Limits
		if limits == nil || limits.MemoryBytes == 0 || limits.NanoCPUs == 0 {
			t.Error("it has no limits of memory and processors: deploy.resources.limits")
		}
		if s.Logging == nil || s.Logging.Options["max-size"] == "" || s.Logging.Options["max-file"] == "" {
			t.Error("its log fills the disk: logging max-size, max-file")
		}
		if s.NetworkMode != "" || s.Pid != "" || s.Ipc != "" || len(s.Devices) > 0 {
			t.Error("it shares namespaces or devices of the host")
		}
		for _, path := range s.Tmpfs {
			if !strings.Contains(path, "size=") || !strings.Contains(path, "nosuid") {
				t.Errorf("tmpfs %s: size and nosuid", path)
			}
			if strings.Contains(path, ",exec") && ours[s.Name] {
				t.Errorf("tmpfs %s: ours need no programs there", path)
			}
		}
	})
}

// TestOnlyTheDoorIsOpen: the balancer, and CoAP, which it cannot balance.
func TestOnlyTheDoorIsOpen(t *testing.T) {
	each(t, func(t *testing.T, s types.ServiceConfig) {
		if len(s.Ports) > 0 && s.Name != "haproxy" && s.Name != "coap-transport" {
			t.Errorf("it publishes ports: %v", s.Ports)
		}
		if _, onEdge := s.Networks["edge"]; onEdge && len(s.Ports) == 0 && s.Name != "certbot" {
			t.Error("it is on `edge`, which reaches the world, and has no business there")
		}
		for _, p := range s.Ports {
			if s.Name == "coap-transport" && (p.Protocol != "udp" || p.Target != 5683) {
				t.Errorf("coap-transport publishes %d/%s", p.Target, p.Protocol)
			}
			if p.Target == 8404 && p.HostIP != "127.0.0.1" {
				t.Errorf("the operators' port is published on %q by default", p.HostIP)
			}
			if p.Target < 1024 {
				t.Errorf("port %d needs a privilege inside the container", p.Target)
			}
		}
	})
}

// TestNetworksSeparate: who is meant to reach whom, and nobody else.
func TestNetworksSeparate(t *testing.T) {
	p := project(t)
	for name, network := range p.Networks {
		if wantInternal := name != "edge" && name != "outside"; network.Internal != wantInternal {
			t.Errorf("network %s: internal is %v", name, network.Internal)
		}
	}
	want := map[string]string{
		"init": "bus data", "core-node": "app bus data outside", "mqtt-transport": "app bus", "http-transport": "app bus",
		"coap-transport": "app bus edge", "js-executor": "app bus", "haproxy": "app edge", "certbot": "app edge", "kafka": "bus", "zookeeper": "data",
		"redis": "bus", "cassandra": "data", "prometheus": "app", "grafana": "app",
	}
	for name, s := range p.Services {
		got := strings.Join(slices.Sorted(maps.Keys(s.Networks)), " ")
		if got != want[name] {
			t.Errorf("%s is on %q, want %q", name, got, want[name])
		}
	}
}

// TestScales: nothing in a service of ours stands in the way of a second one.
func TestScales(t *testing.T) {
	each(t, func(t *testing.T, s types.ServiceConfig) {
		if s.ContainerName != "" || s.Hostname != "" {
			t.Error("container_name and hostname are for one container only")
		}
		for name, n := range s.Networks {
			if n != nil && n.Ipv4Address != "" && s.Name != "haproxy" {
				t.Errorf("a fixed address on %s is for one container only", name)
			}
		}
		for _, volume := range s.Volumes {
			shared := s.Name == "core-node" && volume.Type == types.VolumeTypeVolume && volume.Source == "packages"
			if ours[s.Name] && !volume.ReadOnly && !shared {
				t.Errorf("ours store nothing but firmware, which all core nodes share: %s", volume.Target)
			}
			if volume.Type == types.VolumeTypeBind && !strings.Contains(filepath.ToSlash(volume.Source), "/deploy/compose/secrets/") {
				t.Errorf("mounts %s of the host: only what init made", volume.Source)
			}
		}
	})
}

// TestStartsInOrderAndStopsInPeace: health decides the order, and a stop has the time it needs.
func TestStartsInOrderAndStopsInPeace(t *testing.T) {
	p := project(t)
	each(t, func(t *testing.T, s types.ServiceConfig) {
		oneShot := s.Name == "init" || s.Name == "certbot"
		if s.HealthCheck == nil || s.HealthCheck.Disable != oneShot {
			t.Error("a health check, unless it runs once")
		}
		if want := map[bool]string{true: "no", false: "unless-stopped"}[oneShot]; s.Restart != want {
			t.Errorf("restart is %q, want %q", s.Restart, want)
		}
		for on, how := range s.DependsOn {
			want := types.ServiceConditionHealthy
			if on == "init" {
				want = types.ServiceConditionCompletedSuccessfully
			}
			if how.Condition != want {
				t.Errorf("depends on %s when %s, want %s", on, how.Condition, want)
			}
			if how.Required == (len(p.Services[on].Profiles) > 0) {
				t.Errorf("depends on %s, required %v: parts of a profile may be someone else's", on, how.Required)
			}
		}
		if !ours[s.Name] {
			return
		}
		if s.Name != "init" && s.DependsOn["init"].Condition == "" {
			t.Error("starts before init is done")
		}
		if s.Name == "init" || s.StopGracePeriod == nil {
			return
		}
		limit, err := time.ParseDuration(*s.Environment["SLUICE_DRAIN_LIMIT"])
		if err != nil {
			t.Fatal(err)
		}
		if time.Duration(*s.StopGracePeriod) <= limit {
			t.Errorf("is killed after %v while it may drain for %v", s.StopGracePeriod, limit)
		}
	})
}

var pinned = regexp.MustCompile(`:v?\d+\.\d+[0-9a-z.-]*$|@sha256:[0-9a-f]{64}$`)

// TestImages: ours is one, everyone else's is pinned and can be replaced by a variable.
func TestImages(t *testing.T) {
	p := project(t)
	variables := []string{"SLUICE_IMAGE=sluice:test"}
	choice := func(name string) string { return "SLUICE_" + strings.ToUpper(name) + "_IMAGE" }
	for name, s := range p.Services {
		if !ours[name] && !pinned.MatchString(s.Image) {
			t.Errorf("%s has image %s: a version, not what is newest", name, s.Image)
		}
		variables = append(variables, choice(name)+"=instead-of-"+name)
	}
	chosen, err := Load(t.Context(), variables...)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range chosen.Services {
		want := "instead-of-" + name
		if ours[name] {
			want = "sluice:test"
		}
		if s.Image != want {
			t.Errorf("%s has image %s, want %s: %s should choose it", name, s.Image, want, choice(name))
		}
	}
}

// TestSecretsAreFiles: none in the environment, none in the compose file, none with a default.
func TestSecretsAreFiles(t *testing.T) {
	p := project(t)
	telling := regexp.MustCompile(`(?i)password|token|secret`)
	for name, s := range p.Services {
		for key := range s.Environment {
			file := strings.HasSuffix(key, "_FILE")
			if telling.MatchString(key) && !file {
				t.Errorf("%s: %s gives a secret by the environment, which `docker inspect` shows: %s_FILE", name, key, key)
			}
			if file && !strings.HasPrefix(*s.Environment[key], "/run/secrets/") {
				t.Errorf("%s: %s is %s", name, key, *s.Environment[key])
			}
		}
	}
	for name, secret := range p.Secrets {
		if !strings.Contains(filepath.ToSlash(secret.File), "/deploy/compose/secrets/") || secret.Content != "" || secret.Environment != "" {
			t.Errorf("secret %s is not a file that init writes", name)
		}
	}
	for _, path := range []string{"admin_token", "redis_conf", "redis_password", "operators_password", "haproxy_operators"} {
		if _, ok := p.Secrets[path]; !ok {
			t.Errorf("no secret %s", path)
		}
	}
}

// TestVariablesAreDocumented: .env.example has each variable with the default it has in the compose file, and no other.
func TestVariablesAreDocumented(t *testing.T) {
	read, err := variables()
	if err != nil {
		t.Fatal(err)
	}
	described, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{"COMPOSE_PROFILES": true, "SLUICE_IMAGE": true}
	for _, v := range read {
		used[v.name] = true
		text, ok := described[v.name]
		switch {
		case !ok:
			t.Errorf("%s is not in .env.example", v.name)
		case v.name != "SLUICE_IMAGE" && text != v.fallback:
			t.Errorf("%s is %q by default, and %q in .env.example", v.name, v.fallback, text)
		}
	}
	for name := range described {
		if !used[name] {
			t.Errorf(".env.example has %s, which nothing reads", name)
		}
	}
}

// TestSettingsExist: what ours are given is a setting of theirs, under the name it has today.
func TestSettingsExist(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range project(t).Services {
		for key := range s.Environment {
			if ours[name] && strings.HasPrefix(key, "SLUICE_") && !strings.Contains(string(page), "`"+strings.TrimSuffix(key, "_FILE")+"`") {
				t.Errorf("%s is given %s, which docs/reference/settings.md does not have", name, key)
			}
		}
	}
}
