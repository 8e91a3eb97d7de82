package system

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/parts/part"
)

// FleetOptions is how many of each role a fleet has and what they are told.
type FleetOptions struct {
	Core, MQTT, HTTP, CoAP int // 0: 3, 2, 2 and 1
	Scripts                int // executors; 0: none
	// Slots is how many core nodes the balancer has a place for; 0: three more than Core.
	Slots int
	// Certificates, a .pem file with chain and key or a folder of them, opens the TLS door of MQTT transports and the DTLS door of CoAP's.
	Certificates string
	// Flags are given to every role, as variables of the environment, so each takes those it knows.
	Flags []string
}

// Fleet is a process per role behind HAProxy on real parts. Every role keeps its addresses and its name over kills
// and restarts. CoAP devices talk to their transport directly: HAProxy does not speak UDP.
type Fleet struct {
	Parts                  *Parts
	Core, MQTT, HTTP, CoAP []*Role
	Scripts                []*Role
	Balancer               *part.HAProxy

	binary, dir string
	environ     []string
	slots       []part.Server // of core nodes, those of Core first
}

// NewFleet installs what a fleet needs on the parts and prepares its processes; Start starts them. The test's end
// kills them, and prints what each logged at last when the test failed.
func NewFleet(ctx context.Context, t *testing.T, parts *Parts, o FleetOptions) *Fleet {
	t.Helper()
	binary, err := binaryPath()
	if err != nil {
		t.Fatal(err)
	}
	f := &Fleet{Parts: parts, binary: binary, dir: t.TempDir()}
	f.Set(o.Flags...)
	if err := f.install(ctx); err != nil {
		t.Fatal(err)
	}
	for range cmp.Or(o.Slots, cmp.Or(o.Core, 3)+3) {
		f.slots = append(f.slots, part.Server{Address: freeAddress(t, "tcp"), Admin: freeAddress(t, "tcp")})
	}
	f.arrange(t, o)
	for i := range o.Scripts {
		f.Scripts = append(f.Scripts, f.role("js-executor", i, freeAddress(t, "tcp")))
	}
	if f.Balancer, err = part.NewHAProxy(ctx, f.dir, f.balanced()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Kill()
		f.Balancer.Kill()
		if t.Failed() {
			for _, p := range append(f.Processes(), f.Balancer.Process) {
				lines := p.Lines("")
				t.Logf("%s printed at last:\n%s", p.Name, strings.Join(lines[max(0, len(lines)-40):], "\n"))
			}
		}
	})
	return f
}

// arrange prepares the processes that people and devices talk to.
func (f *Fleet) arrange(t *testing.T, o FleetOptions) {
	t.Helper()
	for range cmp.Or(o.Core, 3) {
		f.Core = append(f.Core, f.coreNode(len(f.Core)))
	}
	for i := range cmp.Or(o.MQTT, 2) {
		listen, webSocket := freeAddress(t, "tcp"), freeAddress(t, "tcp")
		args := []string{"--mqtt-listen", listen, "--mqtt-websocket-listen", webSocket, "--proxy-trusted", "127.0.0.1/32"}
		secure := ""
		if o.Certificates != "" {
			secure = freeAddress(t, "tcp")
			args = append(args, "--mqtt-tls-listen", secure, "--mqtt-tls-certificates", o.Certificates)
		}
		role := f.role("mqtt-transport", i, freeAddress(t, "tcp"), args...)
		role.Listen, role.WebSocket, role.Secure = listen, webSocket, secure
		f.MQTT = append(f.MQTT, role)
	}
	for i := range cmp.Or(o.HTTP, 2) {
		listen := freeAddress(t, "tcp")
		role := f.role("http-transport", i, freeAddress(t, "tcp"), "--http-listen", listen)
		role.Listen = listen
		f.HTTP = append(f.HTTP, role)
	}
	for i := range cmp.Or(o.CoAP, 1) {
		f.CoAP = append(f.CoAP, f.coapTransport(t, i, o.Certificates))
	}
}

// coapTransport prepares the i-th, with a door of DTLS if there are certificates.
func (f *Fleet) coapTransport(t *testing.T, i int, certificates string) *Role {
	listen, secure := freeAddress(t, "udp"), ""
	args := []string{"--coap-listen", listen}
	if certificates != "" {
		secure = freeAddress(t, "udp")
		args = append(args, "--coap-dtls-listen", secure, "--coap-dtls-certificates", certificates)
	}
	role := f.role("coap-transport", i, freeAddress(t, "tcp"), args...)
	role.Listen, role.Secure = listen, secure
	return role
}

func (f *Fleet) balanced() part.Balanced {
	b := part.Balanced{Core: f.slots, Proxy: true}
	for _, r := range f.MQTT {
		b.MQTT = append(b.MQTT, part.Server{Address: r.Listen, Admin: r.Admin})
		if r.Secure != "" {
			b.MQTTTLS = append(b.MQTTTLS, part.Server{Address: r.Secure, Admin: r.Admin})
		}
		b.MQTTWebSocket = append(b.MQTTWebSocket, part.Server{Address: r.WebSocket, Admin: r.Admin})
	}
	for _, r := range f.HTTP {
		b.HTTP = append(b.HTTP, part.Server{Address: r.Listen, Admin: r.Admin})
	}
	return b
}

// role prepares the i-th process of a kind, called kind-1 and so on.
func (f *Fleet) role(kind string, i int, admin string, args ...string) *Role {
	name := fmt.Sprintf("%s-%d", kind, i+1)
	return newRole(part.Command{
		Name: name, Program: f.binary, Dir: f.dir, Env: f.environ, Patience: 30 * time.Second,
		Args: append([]string{kind, "--node-id", name, "--admin-listen", admin}, args...),
	}, admin)
}

// coreNode prepares the one in a slot.
func (f *Fleet) coreNode(slot int) *Role {
	at := f.slots[slot]
	role := f.role("core-node", slot, at.Admin, "--http-listen", at.Address, "--data", filepath.Join(f.dir, fmt.Sprintf("data-%d", slot+1)))
	role.Listen = at.Address
	return role
}

// AddCore starts one more core node, in the next free slot. To take one away, stop it.
func (f *Fleet) AddCore(ctx context.Context) (*Role, error) {
	if len(f.Core) == len(f.slots) {
		return nil, fmt.Errorf("add a core node: all %d slots are taken", len(f.slots))
	}
	role := f.coreNode(len(f.Core))
	f.Core = append(f.Core, role)
	return role, role.Start(ctx)
}

// install runs `sluice install`, which is to be harmless where everything is there.
func (f *Fleet) install(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, f.binary, "install")
	cmd.Env = append(part.Environ(), f.environ...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("sluice install: %w\n%s", err, out)
	}
	f.Parts.mu.Lock()
	defer f.Parts.mu.Unlock()
	if user, password, err := loginIn(string(out)); err == nil {
		f.Parts.user, f.Parts.password = user, password
	}
	return nil
}

// FirstLogin is what the first installation on these parts printed.
func (f *Fleet) FirstLogin(context.Context) (user, password string, err error) {
	f.Parts.mu.Lock()
	defer f.Parts.mu.Unlock()
	if f.Parts.user == "" {
		return "", "", errors.New("no installation printed credentials")
	}
	return f.Parts.user, f.Parts.password, nil
}

// Doors is where devices and people find it.
func (f *Fleet) Doors() Doors {
	return Doors{
		MQTT: f.Balancer.MQTT, MQTTTLS: f.Balancer.MQTTTLS, HTTP: f.Balancer.HTTP, CoAP: f.CoAP[0].Listen, CoAPS: f.CoAP[0].Secure, Admin: f.Core[0].Admin,
		Kafka: f.Parts.Kafka.First(),
	}
}

// Set has the next start of each role give these flags, instead of those given so far.
func (f *Fleet) Set(flags ...string) {
	f.environ = append(f.Parts.environ(), variables(flags)...)
	for _, r := range f.Roles() {
		r.Env = f.environ
	}
}

// Roles are all, core nodes first.
func (f *Fleet) Roles() []*Role { return slices.Concat(f.Core, f.MQTT, f.HTTP, f.CoAP, f.Scripts) }

// Processes are those of Sluice itself.
func (f *Fleet) Processes() (all []*part.Process) {
	for _, r := range f.Roles() {
		all = append(all, r.Process)
	}
	return all
}

// Start starts, side by side, what does not run, and waits until the balancer sends to all of it.
func (f *Fleet) Start(ctx context.Context) error {
	if !f.Balancer.Running() {
		if err := f.Balancer.Start(ctx); err != nil {
			return err
		}
	}
	err := f.each(f.Roles(), func(r *Role) error {
		if r.Running() {
			return nil
		}
		return r.Start(ctx)
	})
	if err != nil {
		return err
	}
	return f.AwaitBalancer(ctx)
}

// AwaitBalancer waits until the balancer sends to exactly the roles that run and are ready.
func (f *Fleet) AwaitBalancer(ctx context.Context) error {
	want := map[string]bool{}
	for _, r := range slices.Concat(f.Core, f.MQTT, f.HTTP, f.CoAP) {
		ready, _, err := r.Ready(ctx)
		want[r.Listen] = err == nil && ready
		want[r.WebSocket], want[r.Secure] = want[r.Listen], want[r.Listen]
	}
	for {
		up, err := f.Balancer.Up(ctx)
		wrong := ""
		for address, is := range up {
			if is != want[address] {
				wrong = fmt.Sprintf("%s: it sends there: %t", address, is)
			}
		}
		if err == nil && wrong == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the balancer does not follow: %w: %s %w", ctx.Err(), wrong, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop stops all roles in order, side by side; the balancer and the parts go on.
func (f *Fleet) Stop() error { return f.each(f.Roles(), (*Role).stopClean) }

// Kill kills all roles; the balancer and the parts go on.
func (f *Fleet) Kill() {
	_ = f.each(f.Roles(), func(r *Role) error { r.Kill(); return nil }) // nothing in it can fail
}

// each does act with every role side by side.
func (f *Fleet) each(roles []*Role, act func(*Role) error) error {
	errs := make([]error, len(roles))
	var running sync.WaitGroup
	for i, r := range roles {
		running.Go(func() { errs[i] = act(r) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// Operate runs `sluice` with args against a core node that runs, and returns what it printed.
func (f *Fleet) Operate(ctx context.Context, args ...string) (string, error) {
	for _, r := range f.Core {
		if r.Running() {
			return operate(ctx, append(args, "--admin", r.Admin)...)
		}
	}
	return "", errors.New("no core node runs")
}

// Metrics adds up all counters and gauges over the roles that run.
func (f *Fleet) Metrics(ctx context.Context) (map[string]float64, error) {
	sum := map[string]float64{}
	for _, r := range f.Roles() {
		if !r.Running() {
			continue
		}
		one, err := r.Metrics(ctx)
		if err != nil {
			return nil, fmt.Errorf("metrics of %s: %w", r.Name, err)
		}
		for name, n := range one {
			sum[name] += n
		}
	}
	return sum, nil
}
