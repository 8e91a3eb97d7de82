package system

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
)

// unshare deletes a shared attribute of a device.
func (a *deviceAPI) unshare(t *testing.T, device, key string) {
	t.Helper()
	a.rest(t, http.MethodDelete, "/api/plugins/telemetry/DEVICE/"+device+"/SHARED_SCOPE?keys="+key, nil, nil)
}

// mqttAttributes are the cases of attributes that a device publishes and asks for.
func mqttAttributes(t *testing.T, a *deviceAPI) {
	device, token := a.device(t, "")
	client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
	t.Run("M44 published", func(t *testing.T) {
		client.publish(mqttAttributesTopic, `{"fw":"1.0x","n":null,"a":1}`)
		a.eventually(t, func() error {
			if found := a.attributes(t, device, "CLIENT_SCOPE"); found["fw"] != "1.0x" || len(found) != 2 {
				return fmt.Errorf("client attributes %v", found)
			}
			return nil
		})
	})
	a.share(t, device, map[string]any{"x": 3})
	for i, c := range []struct{ name, payload, want string }{
		{"M49 existing keys", `{"clientKeys":"a,b","sharedKeys":"x"}`, `{"client":{"a":1},"shared":{"x":3}}`},
		{"M50 all", `{}`, `{"client":{"a":1,"fw":"1.0x"},"shared":{"x":3}}`},
		{"M51 nothing found", `{"clientKeys":"nope"}`, `{}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for request, answer := range map[string]string{
				mqttAttributesTopic + "/request/": mqttAttributesTopic + "/response/", "v2/a/req/": "v2/a/res/", "v2/a/req/j/": "v2/a/res/j/",
			} {
				if reason := client.publish(fmt.Sprint(request, i), c.payload); reason != 0 {
					t.Fatalf("PUBACK %#x", reason)
				}
				p := client.message(fmt.Sprint(answer, i))
				if p.qos() != 1 || !sameJSON(p.payload, c.want) {
					t.Fatalf("answer %s at QoS %d, want %s", p.payload, p.qos(), c.want)
				}
			}
		})
	}
}

// sameJSON reports whether got says the same as want.
func sameJSON(got []byte, want string) bool {
	var a, b any
	if json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
		return false
	}
	one, _ := json.Marshal(a)
	other, _ := json.Marshal(b)
	return bytes.Equal(one, other)
}

// mqttUpdates are the cases of shared attributes that change.
func mqttUpdates(t *testing.T, a *deviceAPI) {
	device, token := a.device(t, "")
	client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
	set := func(value int) { a.share(t, device, map[string]any{"x": value}) }
	t.Run("M46 long", func(t *testing.T) {
		if codes := client.subscribe(1, mqttAttributesTopic); codes[0] != 1 {
			t.Fatalf("granted %#x", codes[0])
		}
		set(1)
		if p := client.message(mqttAttributesTopic); !sameJSON(p.payload, `{"x":1}`) || p.qos() != 1 {
			t.Fatalf("update %s at QoS %d", p.payload, p.qos())
		}
		a.unshare(t, device, "x")
		if p := client.message(mqttAttributesTopic); !sameJSON(p.payload, `{"deleted":["x"]}`) {
			t.Fatalf("deletion %s", p.payload)
		}
	})
	t.Run("M47 the last style wins", func(t *testing.T) {
		client.subscribe(0, "v2/a/j")
		set(2)
		if p := client.message("v2/a/j"); !sameJSON(p.payload, `{"x":2}`) || p.qos() != 0 {
			t.Fatalf("update %s at QoS %d", p.payload, p.qos())
		}
		client.silent()
	})
	t.Run("M48 unsubscribed", func(t *testing.T) {
		if codes := client.unsubscribe("v2/a/j"); codes[0] != 0 {
			t.Fatalf("UNSUBACK %#x", codes[0])
		}
		set(3)
		client.silent()
		if codes := client.unsubscribe("v2/a/j"); codes[0] != 0x11 {
			t.Fatalf("second UNSUBACK %#x", codes[0])
		}
	})
	for version, refused := range map[byte]byte{mqtt311: 0x80, mqtt5: 0x8f} {
		_, token := a.device(t, "")
		client := mqttConnect(t, a.doors.MQTT, mqttHello{version: version, username: token})
		t.Run(fmt.Sprintf("M54 everything, %d", version), func(t *testing.T) {
			if codes := client.subscribe(1, "#"); codes[0] != refused {
				t.Fatalf("granted %#x", codes[0])
			}
			client.ping()
		})
		t.Run(fmt.Sprintf("M55 one of two, %d", version), func(t *testing.T) {
			if codes := client.subscribe(2, mqttAttributesTopic, "foo"); codes[0] != 1 || codes[1] != refused {
				t.Fatalf("granted % x", codes)
			}
		})
	}
}
