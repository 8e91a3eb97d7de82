package system

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// deviceMQTT are the cases of connecting and of sessions (device-api §8.1).
func deviceMQTT(t *testing.T, a *deviceAPI) {
	t.Run("connect", func(t *testing.T) { mqttConnecting(t, a) })
	t.Run("session", func(t *testing.T) { mqttSessions(t, a) })
}

// mqttConnecting are the cases of CONNECT by token.
func mqttConnecting(t *testing.T, a *deviceAPI) {
	_, token := a.device(t, "")
	for _, c := range []struct {
		name  string
		hello mqttHello
		code  byte
	}{
		{"M01 token", mqttHello{username: token}, 0},
		{"M02 token with any password", mqttHello{username: token, password: "junk", clientID: "any"}, 0},
		{"M03 wrong token", mqttHello{username: "wrong"}, 5},
		{"M04 wrong token, 5", mqttHello{version: mqtt5, username: "wrong"}, 0x86},
		{"M05 unknown client id", mqttHello{clientID: "unknown"}, 2},
		{"M06 unknown client id, 5", mqttHello{version: mqtt5, clientID: "unknown"}, 0x85},
		{"M07 nothing at all, 5", mqttHello{version: mqtt5}, 0x87},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, code := mqttOpen(t, a.doors.MQTT, c.hello)
			if code != c.code {
				t.Fatalf("CONNACK %#x, want %#x", code, c.code)
			}
			if code != 0 {
				client.closed()
				return
			}
			client.ping()
		})
	}
	t.Run("M22 unknown protocol level", func(t *testing.T) {
		if _, p, err := mqttTry(t, a.doors.MQTT, mqttHello{version: 9, username: token}); err == nil {
			t.Fatalf("answered by %v", p)
		}
	})
}

// mqttSessions are the cases of what ends a session.
func mqttSessions(t *testing.T, a *deviceAPI) {
	for version, reason := range map[byte]byte{mqtt311: 0, mqtt5: 0x8e} {
		t.Run(fmt.Sprintf("M18 taken over, %d", version), func(t *testing.T) {
			device, token := a.device(t, "")
			first := mqttConnect(t, a.doors.MQTT, mqttHello{version: version, username: token})
			first.ping()
			second := mqttConnect(t, a.doors.MQTT, mqttHello{version: version, username: token})
			if got := first.closed(); got != reason {
				t.Fatalf("the first was told %#x, want %#x", got, reason)
			}
			second.ping()
			if since := a.attributes(t, device, "SERVER_SCOPE")["lastDisconnectTime"]; since != nil && since != json.Number("0") {
				t.Fatalf("lastDisconnectTime %v while the second is there", since)
			}
			second.leave()
			a.eventually(t, func() error { return disconnected(a.attributes(t, device, "SERVER_SCOPE")) })
		})
		t.Run(fmt.Sprintf("M18 not by the same client id, %d", version), func(t *testing.T) {
			_, one := a.device(t, "")
			_, other := a.device(t, "")
			first := mqttConnect(t, a.doors.MQTT, mqttHello{version: version, username: one, clientID: "shared"})
			second := mqttConnect(t, a.doors.MQTT, mqttHello{version: version, username: other, clientID: "shared"})
			second.ping()
			first.ping()
		})
	}
	t.Run("M20 deleted", func(t *testing.T) {
		device, token := a.device(t, "")
		client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
		a.rest(t, http.MethodDelete, "/api/device/"+device, nil, nil)
		if reason := client.closed(); reason != 0x98 {
			t.Fatalf("DISCONNECT %#x", reason)
		}
		if _, code := mqttOpen(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token}); code != 0x86 {
			t.Fatalf("CONNACK %#x of a device that is gone", code)
		}
	})
	t.Run("M24 client leaves", func(t *testing.T) {
		device, token := a.device(t, "")
		client := mqttConnect(t, a.doors.MQTT, mqttHello{username: token})
		client.leave()
		a.eventually(t, func() error { return disconnected(a.attributes(t, device, "SERVER_SCOPE")) })
	})
}

// disconnected is an error until server attributes tell of the end of a session.
func disconnected(attributes map[string]any) error {
	if since := attributes["lastDisconnectTime"]; since == nil || since == json.Number("0") {
		return fmt.Errorf("lastDisconnectTime is %v", since)
	}
	return nil
}

// deviceMQTTData are the cases of telemetry and attributes (device-api §8.2).
func deviceMQTTData(t *testing.T, a *deviceAPI) {
	t.Run("telemetry", func(t *testing.T) { mqttTelemetry(t, a) })
	t.Run("refused", func(t *testing.T) { mqttRefused(t, a) })
	t.Run("attributes", func(t *testing.T) { mqttAttributes(t, a) })
	t.Run("updates", func(t *testing.T) { mqttUpdates(t, a) })
}

const (
	mqttTelemetryTopic  = "v1/devices/me/telemetry"
	mqttAttributesTopic = "v1/devices/me/attributes"
)

// stored asks until the device has exactly these points of a key, the newest first.
func (a *deviceAPI) stored(t *testing.T, device, key string, want ...point) {
	t.Helper()
	a.eventually(t, func() error {
		found := a.series(t, device, key)[key]
		if len(found) != len(want) {
			return fmt.Errorf("%s: %v, want %v", key, found, want)
		}
		for i, p := range want {
			if p.TS != 0 && found[i].TS != p.TS || fmt.Sprintf("%T%v", found[i].Value, found[i].Value) != fmt.Sprintf("%T%v", p.Value, p.Value) {
				return fmt.Errorf("%s: %v, want %v", key, found, want)
			}
		}
		return nil
	})
}

func mqttTelemetry(t *testing.T, a *deviceAPI) {
	for _, c := range []struct{ name, topic string }{
		{"M30 long", mqttTelemetryTopic}, {"M33 short", "v2/t"}, {"M33 short JSON", "v2/t/j"},
	} {
		t.Run(c.name, func(t *testing.T) {
			device, token := a.device(t, "")
			client := mqttConnect(t, a.doors.MQTT, mqttHello{username: token})
			before := time.Now().Add(-time.Minute)
			client.publish(c.topic, `{"t":21.5,"on":true,"n":5,"s":"x","j":{"a":[1]}}`)
			a.stored(t, device, "t", point{Value: json.Number("21.5")})
			a.stored(t, device, "on", point{Value: true})
			a.stored(t, device, "n", point{Value: json.Number("5")})
			a.stored(t, device, "s", point{Value: "x"})
			a.stored(t, device, "j", point{Value: map[string]any{"a": []any{json.Number("1")}}})
			if ts := a.series(t, device, "t")["t"][0].TS; ts < before.UnixMilli() || ts > time.Now().Add(time.Minute).UnixMilli() {
				t.Fatalf("stored at %d", ts)
			}
		})
	}
	device, token := a.device(t, "")
	client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
	t.Run("M31 own time", func(t *testing.T) {
		client.publish(mqttTelemetryTopic, `{"ts":1000,"values":{"own":1}}`)
		a.stored(t, device, "own", point{1000, json.Number("1")})
	})
	t.Run("M32 array", func(t *testing.T) {
		client.publish(mqttTelemetryTopic, `[{"ts":1000,"values":{"list":1}},{"list":2}]`)
		a.stored(t, device, "list", point{0, json.Number("2")}, point{1000, json.Number("1")})
	})
	t.Run("M34 empty", func(t *testing.T) {
		if reason := client.publish(mqttTelemetryTopic, `{}`); reason != 0 {
			t.Fatalf("PUBACK %#x", reason)
		}
	})
	t.Run("M43 packet size", func(t *testing.T) {
		const head = len(mqttTelemetryTopic) + 5 // topic, packet id, no properties
		text := func(length int) string { return `{"big":"` + strings.Repeat("x", length-head-10) + `"}` }
		if reason := client.publish(mqttTelemetryTopic, text(65536)); reason != 0 {
			t.Fatalf("PUBACK %#x of the largest packet", reason)
		}
		client.send(1, mqttTelemetryTopic, []byte(text(65537)))
		client.closed()
	})
}

// mqttRefused are publishes that are refused, and what of the connection then.
func mqttRefused(t *testing.T, a *deviceAPI) {
	_, token := a.device(t, "")
	for _, c := range []struct {
		name    string
		version byte
		qos     byte
		topic   string
		payload string
		ack     int // reason of the PUBACK; -1: none, the connection ends
		end     byte
	}{
		{"M35 no JSON", mqtt311, 1, mqttTelemetryTopic, `hello world`, -1, 0},
		{"M36 no JSON, 5", mqtt5, 1, mqttTelemetryTopic, `hello world`, 0x99, 0},
		{"M37 no JSON at QoS 0, 5", mqtt5, 0, mqttTelemetryTopic, `hello world`, -1, 0x99},
		{"M39 values no object", mqtt311, 1, mqttTelemetryTopic, `{"ts":1000,"values":5}`, -1, 0},
		{"M39 values no object, 5", mqtt5, 1, mqttTelemetryTopic, `{"ts":1000,"values":5}`, 0x99, 0},
		{"M40 time no number", mqtt311, 1, mqttTelemetryTopic, `{"ts":"abc","values":{"a":1}}`, -1, 0},
		{"M40 time no number, 5", mqtt5, 1, mqttTelemetryTopic, `{"ts":"abc","values":{"a":1}}`, 0x99, 0},
		{"M41 unknown topic", mqtt311, 1, "wrong/topic", `{}`, 0, 0},
		{"M41 unknown topic, 5", mqtt5, 1, "wrong/topic", `{}`, 0x90, 0},
		{"M42 wildcard", mqtt311, 1, mqttTelemetryTopic + "/+", `{}`, -1, 0},
		{"M42 wildcard, 5", mqtt5, 1, mqttTelemetryTopic + "/+", `{}`, -1, 0x81},
		{"M45 attributes no object", mqtt311, 1, mqttAttributesTopic, `[{"a":1}]`, -1, 0},
		{"M45 attributes no object, 5", mqtt5, 1, mqttAttributesTopic, `[{"a":1}]`, 0x99, 0},
		{"M52 request empty", mqtt311, 1, mqttAttributesTopic + "/request/7", ``, -1, 0},
		{"M52 request empty, 5", mqtt5, 1, mqttAttributesTopic + "/request/7", ``, 0x99, 0},
		{"M52 keys no text, 5", mqtt5, 1, mqttAttributesTopic + "/request/7", `{"clientKeys":["a"]}`, 0x99, 0},
		{"M53 request id no number", mqtt311, 1, mqttAttributesTopic + "/request/abc", `{}`, -1, 0},
		{"M53 request id no number, 5", mqtt5, 1, mqttAttributesTopic + "/request/abc", `{}`, 0x99, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := mqttConnect(t, a.doors.MQTT, mqttHello{version: c.version, username: token})
			client.send(c.qos, c.topic, []byte(c.payload))
			if c.ack < 0 {
				if reason := client.closed(); reason != c.end {
					t.Fatalf("DISCONNECT %#x, want %#x", reason, c.end)
				}
				return
			}
			if p := client.await(mqttPUBACK); int(p.reason) != c.ack {
				t.Fatalf("PUBACK %#x, want %#x", p.reason, c.ack)
			}
			client.ping()
		})
	}
}
