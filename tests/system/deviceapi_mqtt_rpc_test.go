package system

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const mqttRPCFilter = "v1/devices/me/rpc/request/+"

// deviceMQTTRPC are the cases of requests to devices, and of a device's own (device-api §8.3).
func deviceMQTTRPC(t *testing.T, a *deviceAPI) {
	for name, cases := range map[string]func(*testing.T, *deviceAPI){
		"two-way": mqttTwoWay, "one-way": mqttOneWay, "persistent": mqttPersistent, "own": mqttOwnRequests, "limits": mqttLimits,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cases(t, a)
		})
	}
}

// answered is what a request to a device came to.
type answered struct {
	text string
	err  error
}

// ask sends a request to a device by REST; the answer comes later.
func (a *deviceAPI) ask(t *testing.T, way, device string, request map[string]any) <-chan answered {
	t.Helper()
	answer := make(chan answered, 1)
	ctx := t.Context()
	go func() {
		var got answered
		got.err = a.tenant.call(ctx, http.MethodPost, "/api/rpc/"+way+"/"+device, request, &got.text)
		answer <- got
	}()
	return answer
}

// reply answers the request that p is.
func (c *mqttClient) reply(p mqttPacket, payload string) {
	c.t.Helper()
	c.publish(strings.Replace(p.topic, "request", "response", 1), payload)
}

// wantAnswer fails the test unless REST was answered by text.
func wantAnswer(t *testing.T, answer <-chan answered, text string) {
	t.Helper()
	if got := <-answer; got.err != nil || got.text != text && !sameJSON([]byte(got.text), text) {
		t.Fatalf("REST was answered %q, %v; want %q", got.text, got.err, text)
	}
}

// wantStatus fails the test unless REST was answered by that status.
func wantStatus(t *testing.T, answer <-chan answered, status int) {
	t.Helper()
	if got := <-answer; got.err == nil || !strings.Contains(got.err.Error(), fmt.Sprintf(": %d", status)) {
		t.Fatalf("REST was answered %q, %v; want %d", got.text, got.err, status)
	}
}

func mqttTwoWay(t *testing.T, a *deviceAPI) {
	for version := range map[byte]bool{mqtt311: true, mqtt5: true} {
		device, token := a.device(t, "")
		client := mqttConnect(t, a.doors.MQTT, mqttHello{version: version, username: token})
		client.subscribe(1, mqttRPCFilter)
		request := map[string]any{"method": "m", "params": map[string]any{"p": 1}}
		t.Run(fmt.Sprintf("M60 answered, %d", version), func(t *testing.T) {
			answer := a.ask(t, "twoway", device, request)
			p := client.message("v1/devices/me/rpc/request/0")
			if string(p.payload) != `{"method":"m","params":{"p":1}}` || p.qos() != 1 {
				t.Fatalf("request %s at QoS %d", p.payload, p.qos())
			}
			client.reply(p, `{"ok":1}`)
			wantAnswer(t, answer, `{"ok":1}`)
		})
		t.Run(fmt.Sprintf("M61 any reply, %d", version), func(t *testing.T) {
			answer := a.ask(t, "twoway", device, request)
			client.reply(client.message(""), "not json")
			wantStatus(t, answer, http.StatusNotAcceptable)
			answer = a.ask(t, "twoway", device, request)
			client.reply(client.message(""), "")
			wantAnswer(t, answer, "")
		})
		t.Run(fmt.Sprintf("M66 at QoS 0, %d", version), func(t *testing.T) {
			client.subscribe(0, "v2/r/req/+")
			answer := a.ask(t, "twoway", device, request)
			p := client.message("")
			if !strings.HasPrefix(p.topic, "v2/r/req/") || p.qos() != 0 {
				t.Fatalf("request %s at QoS %d", p.topic, p.qos())
			}
			client.publish(strings.Replace(p.topic, "req", "res", 1), `1`)
			wantAnswer(t, answer, `1`)
		})
	}
	t.Run("M62 no reply", func(t *testing.T) {
		device, token := a.device(t, "")
		client := mqttConnect(t, a.doors.MQTT, mqttHello{username: token})
		client.subscribe(1, mqttRPCFilter)
		began := time.Now()
		answer := a.ask(t, "twoway", device, map[string]any{"method": "m", "params": nil, "timeout": 100})
		client.message("")
		wantStatus(t, answer, http.StatusGatewayTimeout)
		if waited := time.Since(began); waited < 4900*time.Millisecond {
			t.Fatalf("given up after %v", waited)
		}
	})
}

func mqttOneWay(t *testing.T, a *deviceAPI) {
	request := map[string]any{"method": "m", "params": "p", "timeout": 20000}
	t.Run("M63 subscribed", func(t *testing.T) {
		device, token := a.device(t, "")
		client := mqttConnect(t, a.doors.MQTT, mqttHello{username: token})
		client.subscribe(1, mqttRPCFilter)
		wantAnswer(t, a.ask(t, "oneway", device, request), "")
		if p := client.message(""); string(p.payload) != `{"method":"m","params":"p"}` {
			t.Fatalf("request %s", p.payload)
		}
	})
	t.Run("M64 comes later", func(t *testing.T) {
		device, token := a.device(t, "")
		answer := a.ask(t, "oneway", device, request)
		client := mqttConnect(t, a.doors.MQTT, mqttHello{username: token})
		client.subscribe(1, mqttRPCFilter)
		client.message("v1/devices/me/rpc/request/0")
		wantAnswer(t, answer, "")
	})
}

// persist sends a persistent request and returns its id.
func (a *deviceAPI) persist(t *testing.T, device string, request map[string]any) (id string) {
	t.Helper()
	request["persistent"] = true
	var made struct{ RPCID string }
	a.rest(t, http.MethodPost, "/api/rpc/twoway/"+device, request, &made)
	return made.RPCID
}

// reaches asks until a persistent request has that status.
func (a *deviceAPI) reaches(t *testing.T, id, status string) {
	t.Helper()
	a.eventually(t, func() error {
		var now struct{ Status string }
		if err := a.tenant.call(t.Context(), http.MethodGet, "/api/rpc/persistent/"+id, nil, &now); err != nil {
			return err
		}
		if now.Status != status {
			return fmt.Errorf("status %s, want %s", now.Status, status)
		}
		return nil
	})
}

func mqttPersistent(t *testing.T, a *deviceAPI) {
	request := func() map[string]any { return map[string]any{"method": "m", "params": nil, "timeout": 120000} }
	t.Run("M65 delivered, then answered", func(t *testing.T) {
		device, token := a.device(t, "")
		id := a.persist(t, device, request()) // before the device is there
		a.reaches(t, id, "QUEUED")
		client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
		client.mute = true
		client.subscribe(1, mqttRPCFilter)
		p := client.message("")
		a.reaches(t, id, "SENT")
		client.acknowledge(p)
		a.reaches(t, id, "DELIVERED")
		client.reply(p, `{"ok":true}`)
		a.reaches(t, id, "SUCCESSFUL")
	})
	t.Run("M65 sent again until it is acknowledged", func(t *testing.T) {
		device, token := a.device(t, "")
		client := mqttConnect(t, a.doors.MQTT, mqttHello{username: token})
		client.mute = true
		client.subscribe(1, mqttRPCFilter)
		id := a.persist(t, device, request())
		first := client.message("")
		second := client.message(first.topic) // after the time for the first is over
		if first.duplicate() || !second.duplicate() || first.id != second.id {
			t.Fatalf("sent as %d, DUP %v, then as %d, DUP %v", first.id, first.duplicate(), second.id, second.duplicate())
		}
		client.conn.Close()
		next := mqttConnect(t, a.doors.MQTT, mqttHello{username: token})
		next.subscribe(1, mqttRPCFilter)
		if third := next.message(first.topic); !third.duplicate() || third.qos() != 1 {
			t.Fatalf("on the next connection at QoS %d, DUP %v", third.qos(), third.duplicate())
		}
		a.reaches(t, id, "DELIVERED")
	})
}

// mqttOwnRequests is the case of a device that asks, and a rule chain that answers; that nothing answers is in TestDeviceAPISettings.
func mqttOwnRequests(t *testing.T, a *deviceAPI) {
	a = a.replying(t)
	for _, version := range []byte{mqtt311, mqtt5} {
		t.Run(fmt.Sprintf("M67 a rule chain answers, %d", version), func(t *testing.T) {
			_, token := a.device(t, "")
			client := mqttConnect(t, a.doors.MQTT, mqttHello{version: version, username: token})
			client.publish("v1/devices/me/rpc/request/3", `{"method":"getTime","params":{}}`)
			if p := client.message("v1/devices/me/rpc/response/3"); !sameJSON(p.payload, `{"method":"getTime","params":{}}`) {
				t.Fatalf("answered %s", p.payload)
			}
		})
	}
}

func mqttLimits(t *testing.T, a *deviceAPI) {
	_, token := a.device(t, "")
	client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
	t.Run("M69 session limits", func(t *testing.T) {
		client.publish("v1/devices/me/rpc/request/1", `{"method":"getSessionLimits","params":{"timeout":5000}}`)
		p := client.message("v1/devices/me/rpc/response/1")
		for _, member := range []string{"maxPayloadSize", "maxInflightMessages", "rateLimits"} {
			if !strings.Contains(string(p.payload), `"`+member+`":`) {
				t.Errorf("limits without %s: %s", member, p.payload)
			}
		}
	})
	t.Run("M70 of a gateway", func(t *testing.T) {
		g := a.gateway(t, mqtt5)
		g.publish("v1/devices/me/rpc/request/1", `{"method":"getSessionLimits"}`)
		if p := g.message("v1/devices/me/rpc/response/1"); !strings.Contains(string(p.payload), `"gatewayRateLimits":{`) {
			t.Errorf("limits %s", p.payload)
		}
	})
	t.Run("M71 claim is acknowledged", func(t *testing.T) {
		if reason := client.publish("v1/devices/me/claim", ``); reason != 0 {
			t.Errorf("PUBACK %#x", reason)
		}
	})
}
