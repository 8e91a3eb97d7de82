package system

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// moments are a device's connectivity as its server attributes have it, ms since the epoch; 0 is never.
type moments struct {
	active                        bool
	connect, disconnect, activity int64
}

func connectivity(ctx context.Context, tenant *Tenant, device string) (m moments, err error) {
	attributes, err := tenant.Attributes(ctx, device)
	if err != nil {
		return m, err
	}
	at := func(key string) int64 {
		n, _ := attributes[key].(float64) // not there: never
		return int64(n)
	}
	m = moments{connect: at("lastConnectTime"), disconnect: at("lastDisconnectTime"), activity: at("lastActivityTime")}
	m.active, _ = attributes["active"].(bool)
	return m, nil
}

// awaitConnectivity waits until want is content with what the attributes say.
func awaitConnectivity(ctx context.Context, t *testing.T, tenant *Tenant, device, what string, want func(moments) bool) (is moments) {
	t.Helper()
	eventually(ctx, t, 8*time.Second, func() (err error) {
		if is, err = connectivity(ctx, tenant, device); err == nil && !want(is) {
			err = fmt.Errorf("%s: %+v", what, is)
		}
		return err
	})
	return is
}

// TestConnectivityAcrossRestarts follows a connected device through an orderly stop, a kill, and
// falling silent: what is said of it is right each time.
func TestConnectivityAcrossRestarts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	platform := newPlatform(ctx, t, "--core-inactivity-timeout=2s", "--core-inactivity-check=100ms")
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, platform)
	token := unique("PUMP")
	device, err := tenant.NewDevice(ctx, "pump", token)
	if err != nil {
		t.Fatal(err)
	}
	awaitConnectivity(ctx, t, tenant, device, "before it ever connected", func(m moments) bool { return m == moments{} })
	began := time.Now().UnixMilli()
	connected(ctx, t, platform.Doors().MQTT, token, 4)
	first := awaitConnectivity(ctx, t, tenant, device, "connected", func(m moments) bool {
		return m.active && m.connect >= began && m.activity >= began && m.disconnect == 0
	})

	stopped := time.Now().UnixMilli()
	if err := platform.Stop(); err != nil {
		t.Error(err)
	}
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	awaitConnectivity(ctx, t, tenant, device, "after an orderly stop, which disconnected it", func(m moments) bool {
		return m.connect == first.connect && m.disconnect >= stopped
	})
	conn := connected(ctx, t, platform.Doors().MQTT, token, 4)
	awaitConnectivity(ctx, t, tenant, device, "connected again", func(m moments) bool { return m.active && m.connect > stopped })

	platform.Kill()
	killed := time.Now().UnixMilli()
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	silent := awaitConnectivity(ctx, t, tenant, device, "silent since the kill", func(m moments) bool { return !m.active })
	if silent.activity > killed {
		t.Errorf("active until %d, after the kill at %d", silent.activity, killed)
	}
	conn.Close()
	conn = connected(ctx, t, platform.Doors().MQTT, token, 4)
	if _, err := conn.Write(appendPublish(nil, "v1/devices/me/telemetry", 1, []byte(`{"a":1}`))); err != nil || pubackOf(conn) != "acknowledged" {
		t.Fatalf("publish after the kill: %v", err)
	}
	last := awaitConnectivity(ctx, t, tenant, device, "back after the kill", func(m moments) bool {
		return m.active && m.connect >= killed && m.activity >= killed
	})
	closed := time.Now().UnixMilli()
	conn.Close()
	awaitConnectivity(ctx, t, tenant, device, "gone, and silent in time", func(m moments) bool {
		return !m.active && m.connect == last.connect && m.disconnect >= closed
	})
}
