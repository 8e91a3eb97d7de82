package system

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
)

// deviceLimits are the cases of rates (device-api §8.1, §8.2). Rates are set as an operator does, by a tenant profile; the tenants that
// have it are there for one case, so nobody else on the platform is held to it.
func deviceLimits(t *testing.T, a *deviceAPI) {
	for version, code := range map[byte]byte{mqtt311: 3, mqtt5: 0x9f} {
		t.Run(fmt.Sprintf("M23 the tenant's rate is used up, %d", version), func(t *testing.T) {
			small := a.limited(t, map[string]any{"transportTenantMsgRateLimit": "1:3600"})
			_, first := small.device(t, "")
			_, second := small.device(t, "")
			mqttConnect(t, a.doors.MQTT, mqttHello{version: version, username: first}).ping() // and may stay
			// What one transport counted another hears of within a moment; until then it lets one in itself.
			a.eventually(t, func() error {
				_, got := mqttOpen(t, a.doors.MQTT, mqttHello{version: version, username: second})
				if got != code {
					return fmt.Errorf("CONNACK %#x, want %#x", got, code)
				}
				return nil
			})
			_, other := a.device(t, "")
			mqttConnect(t, a.doors.MQTT, mqttHello{version: version, username: other}).ping()
		})
	}
	small := a.limited(t, map[string]any{"transportDeviceTelemetryMsgRateLimit": "1:60"})
	for version, reason := range map[byte]byte{mqtt311: 0, mqtt5: 0x83} {
		t.Run(fmt.Sprintf("M58 more telemetry than a device may send, %d", version), func(t *testing.T) {
			device, token := small.device(t, "")
			client := mqttConnect(t, a.doors.MQTT, mqttHello{version: version, username: token})
			if got := client.publish(mqttTelemetryTopic, `{"t":1}`); got != 0 {
				t.Fatalf("the first: PUBACK %#x", got)
			}
			client.send(1, mqttTelemetryTopic, []byte(`{"t":2}`))
			if got := client.closed(); got != reason { // a PUBACK would have failed that
				t.Errorf("DISCONNECT %#x, want %#x", got, reason)
			}
			small.stored(t, device, "t", point{Value: json.Number("1")})
		})
	}
}

// limited is the same platform and a tenant whose profile has that configuration.
func (a *deviceAPI) limited(t *testing.T, configuration map[string]any) *deviceAPI {
	t.Helper()
	ctx := t.Context()
	configuration["type"] = "DEFAULT"
	var profile struct{ ID ref }
	if err := a.administrator.call(ctx, http.MethodPost, "/api/tenantProfile", map[string]any{
		"name": unique("limited"), "profileData": map[string]any{"configuration": configuration},
	}, &profile); err != nil {
		t.Fatal(err)
	}
	other := a.anotherTenant(t)
	id, err := other.tenant.ID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := a.administrator.call(ctx, http.MethodGet, "/api/tenant/"+id, nil, &document); err != nil {
		t.Fatal(err)
	}
	document["tenantProfileId"] = profile.ID
	if err := a.administrator.call(ctx, http.MethodPost, "/api/tenant", document, nil); err != nil {
		t.Fatal(err)
	}
	return other
}
