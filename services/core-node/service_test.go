package corenode

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// node is a running demo core node.
type node struct {
	*Service
	bus     *bus.Client
	metrics *prometheus.Registry
	device  entity.Device
}

func start(t *testing.T, change func(*Config)) *node {
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
	n.Service, err = New(c, n.bus, process.Env{Log: slog.New(slog.DiscardHandler), Metrics: n.metrics})
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
	eventually(t, "the newest of them", func() bool { return cmp.Equal(n.latest(t, "temperature"), want, cmp.AllowUnexported(telemetry.Value{})) })
}
