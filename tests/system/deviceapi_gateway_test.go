package system

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Topics of gateways.
const (
	gatewayConnect    = "v1/gateway/connect"
	gatewayDisconnect = "v1/gateway/disconnect"
	gatewayTelemetry  = "v1/gateway/telemetry"
	gatewayAttributes = "v1/gateway/attributes"
	gatewayRequest    = "v1/gateway/attributes/request"
	gatewayResponse   = "v1/gateway/attributes/response"
	gatewayClaim      = "v1/gateway/claim"
)

// deviceGateway are the cases of gateways (device-api §8.4).
func deviceGateway(t *testing.T, a *deviceAPI) {
	t.Run("devices", func(t *testing.T) { gatewayDevices(t, a) })
	t.Run("readings", func(t *testing.T) { gatewayReadings(t, a) })
	t.Run("downlinks", func(t *testing.T) { gatewayDownlinks(t, a) })
	t.Run("requests", func(t *testing.T) { gatewayRequests(t, a) })
	t.Run("refusals", func(t *testing.T) { gatewayRefusals(t, a) })
}

// gatewayScene is a gateway that is connected. Device names are its own: real("A") is what A is called.
type gatewayScene struct {
	*deviceAPI
	*mqttClient
	id, token, suffix string
}

// gateway makes a gateway and connects it.
func (a *deviceAPI) gateway(t *testing.T, version byte) *gatewayScene {
	t.Helper()
	g := &gatewayScene{deviceAPI: a, suffix: unique("")}
	g.token = strings.ReplaceAll(unique("TG"), "-", "")
	var made struct{ ID ref }
	a.rest(t, http.MethodPost, "/api/device?accessToken="+g.token, map[string]any{
		"name": unique("gateway"), "type": "default", "additionalInfo": map[string]any{"gateway": true},
	}, &made)
	g.id = made.ID.ID
	g.mqttClient = mqttConnect(t, a.doors.MQTT, mqttHello{version: version, username: g.token})
	return g
}

// real is the name of a device in the platform.
func (g *gatewayScene) real(name string) string { return name + g.suffix }

// say replaces the names A, B and C in quotes by the devices' own.
func (g *gatewayScene) say(payload string) string {
	for _, name := range []string{"A", "B", "C"} {
		payload = strings.ReplaceAll(payload, `"`+name+`"`, `"`+g.real(name)+`"`)
	}
	return payload
}

// acknowledged publishes and wants reason in PUBACK, where there is one.
func (g *gatewayScene) acknowledged(topic, payload string, reason byte) {
	g.t.Helper()
	if got := g.publish(topic, g.say(payload)); g.version == mqtt5 && got != reason {
		g.t.Errorf("%s %s: PUBACK %#x, want %#x", topic, payload, got, reason)
	}
}

// receive wants that message next.
func (g *gatewayScene) receive(topic, payload string) {
	g.t.Helper()
	if p := g.message(topic); string(p.payload) != g.say(payload) {
		g.t.Errorf("message %s, want %s", p.payload, g.say(payload))
	}
}

// shownDevice is a device as REST shows it.
type shownDevice struct {
	ID             ref
	Name, Type     string
	AdditionalInfo map[string]any `json:"additionalInfo"`
}

// device finds a device by its name; an error when there is none.
func (g *gatewayScene) device(name string) (d shownDevice, err error) {
	err = g.tenant.call(g.t.Context(), http.MethodGet, "/api/tenant/devices?deviceName="+url.QueryEscape(g.real(name)), nil, &d)
	return d, err
}

// found is device that must be there.
func (g *gatewayScene) found(t *testing.T, name string) shownDevice {
	t.Helper()
	d, err := g.device(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// holds waits until the series of a device has that value.
func (g *gatewayScene) holds(t *testing.T, name, key, value string) []point {
	t.Helper()
	device := g.found(t, name)
	var points []point
	g.eventually(t, func() error {
		points = g.series(t, device.ID.ID, key)[key]
		for _, p := range points {
			if fmt.Sprint(p.Value) == value {
				return nil
			}
		}
		return fmt.Errorf("%s of %s: %v, want %s", key, name, points, value)
	})
	return points
}

// connected waits until the platform says whether a device is connected: which of its two times is the later.
func (g *gatewayScene) connected(t *testing.T, name string, want bool) {
	t.Helper()
	device := g.found(t, name)
	g.eventually(t, func() error {
		values := g.attributes(t, device.ID.ID, "SERVER_SCOPE")
		in, _ := values["lastConnectTime"].(json.Number)
		out, _ := values["lastDisconnectTime"].(json.Number)
		since, _ := in.Int64()
		until, _ := out.Int64()
		if is := since > 0 && since > until; is != want {
			return fmt.Errorf("%s: connected %d, disconnected %d, want connected %v", name, since, until, want)
		}
		return nil
	})
}

func gatewayDevices(t *testing.T, a *deviceAPI) {
	t.Run("G01 connect creates the device", func(t *testing.T) {
		g := a.gateway(t, mqtt311)
		g.acknowledged(gatewayConnect, `{"device":"A"}`, 0)
		d := g.found(t, "A") // at once: it was created before the acknowledgement
		if d.Type != "default" || d.AdditionalInfo["lastConnectedGateway"] != g.id {
			t.Errorf("device %+v, want type default, last behind %s", d, g.id)
		}
		var relations []struct {
			To   ref
			Type string
		}
		a.rest(t, http.MethodGet, "/api/relations?fromType=DEVICE&fromId="+g.id, nil, &relations)
		if len(relations) != 1 || relations[0].To != d.ID || relations[0].Type != "Created" {
			t.Errorf("relations of the gateway: %+v", relations)
		}
		g.connected(t, "A", true)
	})
	t.Run("G02 connect with a type", func(t *testing.T) {
		g := a.gateway(t, mqtt5)
		kind := unique("meter")
		g.acknowledged(gatewayConnect, `{"device":"B","type":"`+kind+`"}`, 0)
		if d := g.found(t, "B"); d.Type != kind {
			t.Errorf("type %s, want %s", d.Type, kind)
		}
		var profiles struct{ Data []struct{ Name string } }
		a.rest(t, http.MethodGet, "/api/deviceProfiles?pageSize=10&page=0&textSearch="+kind, nil, &profiles)
		if len(profiles.Data) != 1 || profiles.Data[0].Name != kind {
			t.Errorf("profiles %+v", profiles)
		}
	})
	t.Run("G12 disconnect", func(t *testing.T) {
		g := a.gateway(t, mqtt5)
		g.acknowledged(gatewayConnect, `{"device":"A"}`, 0)
		g.connected(t, "A", true)
		g.acknowledged(gatewayDisconnect, `{"device":"A"}`, 0)
		g.connected(t, "A", false)
		a.share(t, g.found(t, "A").ID.ID, map[string]any{"k": 1})
		g.silent()
		g.acknowledged(gatewayDisconnect, `{"device":"B"}`, 0)
		if _, err := g.device("B"); err == nil {
			t.Error("a device was created to be disconnected")
		}
	})
	t.Run("G14 not from a device that is no gateway", func(t *testing.T) {
		_, token := a.device(t, "")
		c := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
		g := &gatewayScene{deviceAPI: a, mqttClient: c, suffix: unique("")}
		c.send(1, gatewayTelemetry, []byte(g.say(`{"A":[{"t":1}]}`)))
		c.ping() // an acknowledgement would have failed that
		if c.publish("v1/devices/me/telemetry", `{"t":1}`) != 0 {
			t.Error("the connection is of no use any more")
		}
		if _, err := g.device("A"); err == nil {
			t.Error("the device was created")
		}
	})
	t.Run("G15 the tenant's devices are as many as allowed", func(t *testing.T) { gatewayDeviceLimit(t, a) })
	t.Run("G17 the connection is lost", func(t *testing.T) {
		g := a.gateway(t, mqtt311)
		g.acknowledged(gatewayTelemetry, `{"A":[{"t":1}],"B":[{"t":1}],"C":[{"t":1}]}`, 0)
		for _, name := range []string{"A", "B", "C"} {
			g.connected(t, name, true)
		}
		g.conn.Close()
		for _, name := range []string{"A", "B", "C"} {
			g.connected(t, name, false)
		}
	})
}

// gatewayDeviceLimit has a tenant that may have one device: the gateway.
func gatewayDeviceLimit(t *testing.T, a *deviceAPI) {
	small := a.limited(t, map[string]any{"maxDevices": 1})
	g := small.gateway(t, mqtt5)
	a.eventually(t, func() error { // the limit is noticed within a moment
		if reason := g.publish(gatewayTelemetry, g.say(`{"`+unique("N")+`":[{"t":1}]}`)); reason != 0x97 {
			return fmt.Errorf("PUBACK %#x, want 0x97", reason)
		}
		return nil
	})
	g.ping()
	old := mqttConnect(t, a.doors.MQTT, mqttHello{username: g.token})
	old.send(1, gatewayTelemetry, []byte(g.say(`{"A":[{"t":1}]}`)))
	old.closed() // before MQTT 5 there is no other way to say that it was not taken on
	if _, err := g.device("A"); err == nil {
		t.Error("the device was created")
	}
}

func gatewayReadings(t *testing.T, a *deviceAPI) {
	t.Run("G03 telemetry of two devices", func(t *testing.T) {
		g := a.gateway(t, mqtt311)
		g.acknowledged(gatewayTelemetry, `{"A":[{"ts":1,"values":{"t":1}},{"t":2}],"C":[{"h":3}]}`, 0)
		g.ping() // no further acknowledgement
		points := g.holds(t, "A", "t", "2")
		if len(points) != 2 || points[1].TS != 1 {
			t.Errorf("stored %v", points)
		}
		g.holds(t, "C", "h", "3")
	})
	t.Run("G05 an entry that is no array beside one that is", func(t *testing.T) {
		g := a.gateway(t, mqtt5)
		g.acknowledged(gatewayTelemetry, `{"A":{"t":1},"B":[{"t":1}]}`, 0)
		g.holds(t, "B", "t", "1")
		if _, err := g.device("A"); err == nil {
			t.Error("A was created")
		}
	})
	t.Run("G07 attributes", func(t *testing.T) {
		g := a.gateway(t, mqtt311)
		g.acknowledged(gatewayAttributes, `{"A":{"k":1}}`, 0)
		id := g.found(t, "A").ID.ID
		a.eventually(t, func() error {
			if got := a.attributes(t, id, "CLIENT_SCOPE"); got["k"] != json.Number("1") {
				return fmt.Errorf("attributes %v", got)
			}
			return nil
		})
	})
	t.Run("G16 claim", func(t *testing.T) {
		g := a.gateway(t, mqtt5)
		g.acknowledged(gatewayClaim, `{"A":{"secretKey":"s","durationMs":60000},"B":{}}`, 0)
		g.found(t, "A")
		g.found(t, "B")
		g.acknowledged(gatewayClaim, `{"A":{"secretKey":5}}`, 0x99)
	})
	t.Run("G18 metadata", func(t *testing.T) {
		g := a.gateway(t, mqtt5)
		now := time.Now().UnixMilli()
		g.acknowledged(gatewayTelemetry, fmt.Sprintf(
			`{"A":[{"ts":1,"values":{"t":1},"metadata":{"connector":"modbus","receivedTs":%d,"publishedTs":%d}}]}`, now-30, now-10), 0)
		g.holds(t, "A", "t", "1")
		id := g.found(t, "A").ID.ID
		if found := a.series(t, id, "metadata", "connector")["metadata"]; len(found) > 0 {
			t.Errorf("metadata was stored: %v", found)
		}
		g.acknowledged(gatewayTelemetry, `{"A":[{"t":1,"metadata":{"connector":"modbus"}}]}`, 0x99)
		g.leave() // what was measured is told of now, and else after a minute
		a.eventually(t, func() error {
			for _, p := range a.series(t, g.id, "gatewayMetrics")["gatewayMetrics"] {
				text, err := json.Marshal(p.Value)
				if err != nil {
					return err
				}
				if strings.Contains(string(text), "modbus") && strings.Contains(string(text), "avgGwLatency") {
					return nil
				}
			}
			return errors.New("no gatewayMetrics of the gateway")
		})
	})
	t.Run("G21 QoS 0", func(t *testing.T) {
		g := a.gateway(t, mqtt5)
		g.send(0, gatewayTelemetry, []byte(g.say(`{"A":[{"t":1}]}`)))
		g.acknowledged(gatewayTelemetry, `{"A":[{"t":2}]}`, 0) // the first acknowledgement there is
		g.holds(t, "A", "t", "1")
		g.silent()
	})
}

func gatewayDownlinks(t *testing.T, a *deviceAPI) {
	t.Run("G08 shared attributes", func(t *testing.T) {
		g := a.gateway(t, mqtt311)
		g.acknowledged(gatewayConnect, `{"device":"A"}`, 0)
		g.connected(t, "A", true)
		id := g.found(t, "A").ID.ID
		a.share(t, id, map[string]any{"k": 1})
		g.receive(gatewayAttributes, `{"device":"A","data":{"k":1}}`)
		a.rest(t, http.MethodDelete, "/api/plugins/telemetry/DEVICE/"+id+"/SHARED_SCOPE?keys=k", nil, nil)
		g.receive(gatewayAttributes, `{"device":"A","data":{"deleted":["k"]}}`)
	})
	t.Run("G09 attribute request", func(t *testing.T) {
		g := a.gateway(t, mqtt5)
		g.acknowledged(gatewayConnect, `{"device":"A"}`, 0)
		g.connected(t, "A", true)
		a.share(t, g.found(t, "A").ID.ID, map[string]any{"k": 1})
		g.message(gatewayAttributes)
		g.acknowledged(gatewayRequest, `{"id":1,"device":"A","client":false,"keys":["k"]}`, 0)
		g.receive(gatewayResponse, `{"id":1,"device":"A","value":1}`)
	})
	t.Run("G10 attribute request of two keys", func(t *testing.T) {
		g := a.gateway(t, mqtt311)
		g.acknowledged(gatewayConnect, `{"device":"A"}`, 0)
		g.connected(t, "A", true)
		a.share(t, g.found(t, "A").ID.ID, map[string]any{"k": 1, "l": "x"})
		g.message(gatewayAttributes)
		g.acknowledged(gatewayRequest, `{"id":2,"device":"A","client":false,"keys":["k","l"]}`, 0)
		var answer struct {
			ID     int
			Values map[string]any
		}
		if err := json.Unmarshal(g.message(gatewayResponse).payload, &answer); err != nil || answer.ID != 2 ||
			answer.Values["k"] != 1.0 || answer.Values["l"] != "x" {
			t.Errorf("answer %+v, %v", answer, err)
		}
		g.acknowledged(gatewayRequest, `{"id":3,"device":"A","client":false,"key":"none"}`, 0)
		g.receive(gatewayResponse, `{"id":3,"device":"A"}`)
	})
}

func gatewayRefusals(t *testing.T, a *deviceAPI) {
	for _, version := range []byte{mqtt311, mqtt5} {
		t.Run(fmt.Sprintf("G04 no array at all, %d", version), func(t *testing.T) {
			g := a.gateway(t, version)
			g.acknowledged(gatewayTelemetry, `{"A":{"t":1}}`, 0x83)
			if reason := g.closed(); version == mqtt5 && reason != 0x83 {
				t.Errorf("DISCONNECT %#x", reason)
			}
		})
		t.Run(fmt.Sprintf("G13 an empty name, %d", version), func(t *testing.T) {
			g := a.gateway(t, version)
			g.acknowledged(gatewayConnect, `{"device":""}`, 0x83)
			if reason := g.closed(); version == mqtt5 && reason != 0x83 {
				t.Errorf("DISCONNECT %#x", reason)
			}
		})
	}
	for name, payload := range map[string]string{"G06 bad content": `{"A":[5]}`, "G20 no JSON": `{"A":[{"t":1}]`} {
		t.Run(name, func(t *testing.T) {
			g := a.gateway(t, mqtt5)
			g.acknowledged(gatewayTelemetry, payload, 0x99)
			g.ping()
			old := a.gateway(t, mqtt311)
			old.send(1, gatewayTelemetry, []byte(old.say(payload)))
			old.closed()
		})
	}
}
