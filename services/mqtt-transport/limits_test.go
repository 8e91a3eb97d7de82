package mqtttransport

import (
	"testing"

	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// startLimited starts a service whose devices are held to these rates.
func startLimited(t *testing.T, device transport.Limits) *rig {
	t.Helper()
	r := &rig{Rig: transporttest.Start(t, func(c *transport.Config) { c.DeviceLimits = device })}
	r.service, r.stop = serve(t, r.Transport, nil)
	t.Cleanup(r.stop)
	r.Core.AddDevice("T")
	return r
}

// TestM23LimitedConnect: opening a session counts as a message.
func TestM23LimitedConnect(t *testing.T) {
	for version, code := range map[byte]byte{v311: 3, v5: 0x9f} {
		r := startLimited(t, transport.Limits{Messages: "1:3600"})
		login(t, r.service.Addr(), version, "T").alive()
		if got := dial(t, r.service.Addr(), version).connect(hello("", "T", "-")); got != code {
			t.Errorf("CONNACK %#x, want %#x", got, code)
		}
	}
}

// TestM58LimitedTelemetry: who sends more than its rate is cut off without PUBACK; what came before is acknowledged.
func TestM58LimitedTelemetry(t *testing.T) {
	for _, version := range []byte{v311, v5} {
		r := startLimited(t, transport.Limits{Telemetry: "1:3600"})
		c := login(t, r.service.Addr(), version, "T")
		c.acknowledged(telemetryTopic, `{"t":1}`)
		c.publish(1, telemetryTopic, `{"t":2}`)
		c.expectRefusal(0x83)
		r.Uplinks(t, 1)
	}
}

// TestLimitedRequests: requests, replies and claims count as messages.
func TestLimitedRequests(t *testing.T) {
	for topic, payload := range map[string]string{
		"v1/devices/me/rpc/request/1": `{"method":"m"}`, "v1/devices/me/rpc/response/1": `{}`, "v1/devices/me/claim": ``,
		"v2/fw/request/1/chunk/0": ``,
	} {
		r := startLimited(t, transport.Limits{Messages: "1:3600"})
		c := login(t, r.service.Addr(), v5, "T")
		c.publish(1, topic, payload)
		c.expectRefusal(0x83)
	}
}
