package system

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// accessTime is how long a change of credentials may take to be felt everywhere.
const accessTime = time.Second

// TestAccessEnds changes a device's token, then deletes the device: each time its MQTT session is
// closed, and the old token is refused by all protocols, within a second.
func TestAccessEnds(t *testing.T) {
	ctx, platform, tenant := startPlatform(t)
	firstToken, secondToken := unique("FIRST"), unique("SECOND")
	device, err := tenant.NewDevice(ctx, "door", firstToken)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, token string
		end         func() error
	}{
		{"credentials changed", firstToken, func() error { return tenant.ChangeToken(ctx, device, secondToken) }},
		{"device deleted", secondToken, func() error { return tenant.DeleteDevice(ctx, device) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Probe(ctx, platform.Doors(), c.token).Accepted(); err != nil {
				t.Fatal(err)
			}
			conn := connected(ctx, t, platform.Doors().MQTT, c.token, 4)
			if err := c.end(); err != nil {
				t.Fatal(err)
			}
			awaitClosed(t, conn, accessTime)
			eventually(ctx, t, accessTime, func() error {
				return Probe(ctx, platform.Doors(), c.token).All("connect 5|connect 4", "connect 134|connect 135", "401", "answered 4.01")
			})
		})
	}
}

// TestTakeover connects a device a second time: the first connection is closed, the second serves.
func TestTakeover(t *testing.T) {
	ctx, platform, tenant := startPlatform(t)
	token := unique("TWIN")
	if _, err := tenant.NewDevice(ctx, "twin", token); err != nil {
		t.Fatal(err)
	}
	for _, version := range []byte{4, 5} {
		first := connected(ctx, t, platform.Doors().MQTT, token, version)
		second := connected(ctx, t, platform.Doors().MQTT, token, 4)
		awaitClosed(t, first, accessTime)
		if _, err := second.Write(appendPublish(nil, "v1/devices/me/telemetry", 7, []byte(`{"a":1}`))); err != nil {
			t.Fatal(err)
		}
		if got := pubackOf(second); got != "acknowledged" {
			t.Errorf("the second connection's reading was %s", got)
		}
		second.Close()
	}
}

// connected returns a connection that was accepted.
func connected(ctx context.Context, t *testing.T, address, token string, version byte) net.Conn {
	t.Helper()
	conn, code, err := dialMQTT(ctx, address, token, version)
	if err != nil || code != 0 {
		t.Fatalf("connect: code %d, %v", code, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// awaitClosed waits for the platform to end conn; MQTT 5 may be told why before.
func awaitClosed(t *testing.T, conn net.Conn, within time.Duration) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	for {
		kind, _, err := readPacket(conn)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			t.Fatalf("still open after %s", within)
		case err != nil:
			return
		case kind != 0xe0:
			t.Errorf("unasked packet %x", kind)
		}
	}
}
