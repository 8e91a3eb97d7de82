package mqtttransport

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluice-iot/sluice/transport/certificate/certificatetest"
)

// startTLS starts a service that also listens for TLS, and returns the folder of its certificates.
func startTLS(t testing.TB, change func(*Config)) (r *rig, folder string) {
	t.Helper()
	folder = t.TempDir()
	certificatetest.Write(t, folder, "default.pem", 1, "mqtt.example.org")
	return start(t, func(c *Config) {
		c.TLSListen, c.TLSCertificates = "127.0.0.1:0", folder
		if change != nil {
			change(c)
		}
	}), folder
}

// TestTLS: a device under TLS is served like any other, and stays connected while certificates change.
func TestTLS(t *testing.T) {
	r, folder := startTLS(t, nil)
	for i, version := range []byte{v311, v5} {
		token := "T" + string(rune('0'+i))
		r.Core.AddDevice(token)
		conn, serial := certificatetest.Dial(t, r.service.TLSAddr(), "mqtt.example.org")
		if serial != 1 {
			t.Errorf("certificate %d, want 1", serial)
		}
		c := newClient(t, conn, version)
		if code := c.connect(hello("", token, "-")); code != 0 {
			t.Fatalf("CONNACK %#x", code)
		}
		c.acknowledged(telemetryTopic, `{"t":1}`)
		c.acknowledged(telemetryTopic, textOf(60000)) // several records
		c.subscribe(1, attributeTopic)
		plain := login(t, r.service.Addr(), version, token)
		c.expectRefusal(0x8E)
		plain.alive()
	}
	r.Core.AddDevice("T")
	conn, _ := certificatetest.Dial(t, r.service.TLSAddr(), "mqtt.example.org")
	before := newClient(t, conn, v311)
	before.connect(hello("", "T", "-"))
	certificatetest.Write(t, folder, "default.pem", 2, "mqtt.example.org", "and-more")
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if _, serial := certificatetest.Dial(t, r.service.TLSAddr(), "mqtt.example.org"); serial == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the certificate that was replaced is still served")
		}
	}
	before.acknowledged(telemetryTopic, `{"t":2}`)
	before.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	before.expectClosed()
}
