package corenode

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	owner "github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// node is a running demo core node.
type node struct {
	*Service
	bus     *bus.Client
	metrics *prometheus.Registry
	device  entity.Device
	health  process.Health
	admin   admin
}

// admin is an admin listener.
type admin struct{ http.ServeMux }

func (a *admin) Handle(pattern string, h http.Handler) { a.ServeMux.Handle(pattern, h) }

func (a *admin) ask(t *testing.T, method, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.String()
}

func start(t *testing.T, change func(*Config)) *node {
	t.Helper()
	return startOn(t, func(b Bus) Bus { return b }, change)
}

// startOn is start on a bus that between makes of the broker's.
func startOn(t *testing.T, between func(Bus) Bus, change func(*Config)) *node {
	t.Helper()
	var c Config
	if err := settings.Defaults(&c, nil); err != nil {
		t.Fatal(err)
	}
	c.DataDir, c.Demo = t.TempDir(), true
	if change != nil {
		change(&c)
	}
	n := &node{bus: bustest.Start(t), metrics: prometheus.NewRegistry()}
	var err error
	n.Service, err = New(c, between(n.bus), process.Env{
		Log: slog.New(slog.DiscardHandler), Metrics: n.metrics, Health: &n.health, Admin: &n.admin,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	credentials, err := n.entities.Devices.CredentialsByID(t.Context(), "A1_TEST_TOKEN")
	if err != nil {
		t.Fatal(err)
	}
	if n.device, err = n.entities.Devices.Device(t.Context(), credentials.Tenant, credentials.Device); err != nil {
		t.Fatal(err)
	}
	return n
}

// uplink is one of the node's device.
func (n *node) uplink(records ...telemetry.Record) *telemetry.Uplink {
	return &telemetry.Uplink{
		Tenant: n.device.Tenant, Device: n.device.ID, Profile: n.device.Profile, DeviceName: n.device.Name, DeviceType: n.device.Type,
		ID: telemetry.MessageID(ident.New()), ReceivedAt: time.Now().UnixMicro(), Transport: "MQTT", Telemetry: records,
	}
}

func (n *node) publish(t *testing.T, m bus.Message) {
	t.Helper()
	done := make(chan error, 1)
	if err := n.bus.Publish(m, func(err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (n *node) send(t *testing.T, u *telemetry.Uplink) {
	t.Helper()
	n.publish(t, bus.Message{Topic: topics.RuleEngine, Key: u.Device.ID[:], Value: telemetry.AppendUplink(nil, u)})
}

// eventually waits for what happens on the node's own goroutines.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// handled counts the telemetry messages that are done with.
func (n *node) handled(t *testing.T) float64 {
	t.Helper()
	families, err := n.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "core_node_messages_stored_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return 0
}

func reading(at int64, key string, value telemetry.Value) telemetry.Record {
	return telemetry.Record{Time: at, OwnTime: true, Values: []telemetry.KeyValue{{Key: key, Value: value}}}
}

func (n *node) latest(t *testing.T, keys ...string) []storage.Entry {
	t.Helper()
	entries, err := n.store.Latest(t.Context(), n.device.ID.Entity(), keys)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestAnUplinkIsStored(t *testing.T) {
	n := start(t, nil)
	n.send(t, n.uplink(reading(1000, "temperature", telemetry.OfDouble(21.5)), reading(2000, "temperature", telemetry.OfLong(22))))
	eventually(t, "the latest value", func() bool { return len(n.latest(t, "temperature")) == 1 })
	want := []storage.Entry{{KeyValue: telemetry.KeyValue{Key: "temperature", Value: telemetry.OfLong(22)}, Time: 2000}}
	eventually(t, "the newest of them", func() bool {
		return cmp.Equal(n.latest(t, "temperature"), want, cmp.AllowUnexported(telemetry.Value{}))
	})
}

func TestPeopleWriteThroughTheOwner(t *testing.T) {
	n := start(t, nil)
	writer, e := ownersWriter(n), n.device.ID.Entity()
	values := func(v int64) []telemetry.KeyValue {
		return []telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(v)}}
	}
	ctx := t.Context()
	if err := writer.SaveTelemetry(ctx, n.device.Tenant, e, []owner.Timed{{Time: 5, Values: values(7)}}, 0); err != nil {
		t.Fatal(err)
	}
	if got := n.latest(t, "k"); len(got) != 1 || got[0].Long() != 7 { // answered means stored
		t.Errorf("latest is %v", got)
	}
	if err := writer.SaveAttributes(ctx, n.device.Tenant, e, storage.Shared, values(8)); err != nil {
		t.Fatal(err)
	}
	if err := writer.DeleteTelemetry(ctx, n.device.Tenant, e, owner.DeleteTelemetry{Keys: []string{"k"}, All: true, DeleteLatest: true}); err != nil {
		t.Fatal(err)
	}
	shared, err := n.store.Attributes(ctx, e, storage.Shared, nil)
	if err != nil || len(shared) != 1 || len(n.latest(t, "k")) != 0 {
		t.Errorf("shared %v, %v, latest %v", shared, err, n.latest(t, "k"))
	}
	if err := writer.DeleteAttributes(ctx, n.device.Tenant, e, storage.Shared, []string{"k"}); err != nil {
		t.Fatal(err)
	}
	if err := writer.SaveAttributes(ctx, n.device.Tenant, e, storage.Timeseries, values(8)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a scope there is not: %v", err)
	}
}

func TestADeadLetterIsReplayedByItsOperator(t *testing.T) {
	n := start(t, nil)
	if reasons := n.health.Ready(); reasons != nil {
		t.Errorf("not ready: %v", reasons)
	}
	n.publish(t, bus.Message{Topic: topics.RuleEngine, Key: []byte("k"), Value: []byte{0xff}})
	var listed string
	eventually(t, "the dead letter", func() bool {
		listed = n.admin.ask(t, "GET", "/dead-letters")
		return strings.Contains(listed, `"where":"decode"`)
	})
	id := strings.Split(listed, `"`)[3]
	n.admin.ask(t, "POST", "/dead-letters/"+id+"/replay")
	eventually(t, "it to fail again", func() bool { return strings.Count(n.admin.ask(t, "GET", "/dead-letters"), `"where"`) == 1 })
	n.admin.ask(t, "POST", "/dead-letters/"+strings.Split(n.admin.ask(t, "GET", "/dead-letters"), `"`)[3]+"/discard")
	if got := n.admin.ask(t, "GET", "/dead-letters"); strings.TrimSpace(got) != "[]" {
		t.Errorf("left: %s", got)
	}
}

func TestAChangedChainIsTakenUp(t *testing.T) {
	n := start(t, nil)
	n.send(t, n.uplink(reading(1, "before", telemetry.OfLong(1))))
	eventually(t, "the first reading", func() bool { return len(n.latest(t, "before")) == 1 })
	root, err := n.entities.RuleChains.RootChain(t.Context(), n.device.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	root.Metadata = []byte(strings.Replace(string(root.Metadata), "Post telemetry", "Nothing like it", 1))
	if _, err := n.entities.RuleChains.Update(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	at := int64(1)
	eventually(t, "readings no longer stored", func() bool {
		at++
		before := n.handled(t)
		n.send(t, n.uplink(reading(at, "after", telemetry.OfLong(at))))
		eventually(t, "the reading handled", func() bool { return n.handled(t) > before })
		entries := n.latest(t, "after")
		return len(entries) == 0 || entries[0].Time < at
	})
}

func TestItsOwnListenerServesPeople(t *testing.T) {
	n := start(t, func(c *Config) { c.HTTPListen = "127.0.0.1:0" })
	answer, err := http.Post("http://"+n.Addr()+"/api/auth/login", "application/json",
		strings.NewReader(`{"username":"tenant@thingsboard.org","password":"tenant"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("login: %s", answer.Status)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestBadSettingsAreNamed(t *testing.T) {
	var good Config
	if err := settings.Defaults(&good, nil); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"--core-pack-records": func(c *Config) { c.PackRecords = 0 },
		"--core-window":       func(c *Config) { c.Window = -1 },
		"--data":              func(c *Config) { c.DataDir = "" },
	} {
		bad := good
		change(&bad)
		if _, err := New(bad, nil, process.Env{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func ownersWriter(n *node) owner.Writer { return owner.Remote{Bus: n.bus, Budget: 5 * time.Second} }

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
