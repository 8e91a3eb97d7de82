package system

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// inactivity is what the time-out of silent sessions is set to here.
const inactivity = 5 * time.Second

// TestDeviceAPISettings are the cases that ask for other settings of a process than the rest is for, on a platform of their own: sessions
// of other cases would not outlive time-outs this short (ten minutes and one by default), and no other case has numbers in strings kept.
func TestDeviceAPISettings(t *testing.T) {
	a := newDeviceAPI(t, "--mqtt-inactivity-timeout="+inactivity.String(), "--rpc-timeout=2s", "--numeric-strings=false")
	t.Run("V05 numbers in strings are kept", func(t *testing.T) {
		device, token := a.device(t, "")
		d := &httpDevice{a, token}
		d.expect(t, http.MethodPost, "telemetry", `{"v05":"42"}`, http.StatusOK, "")
		a.stored(t, device, "v05", point{Value: "42"})
		d.fails(t, http.MethodPost, "telemetry", `{"v05":1E19}`, http.StatusBadRequest)
	})
	t.Run("M68 no rule chain answers", func(t *testing.T) {
		_, token := a.device(t, "")
		client := mqttConnect(t, a.doors.MQTT, mqttHello{username: token})
		client.publish("v1/devices/me/rpc/request/3", `{"method":"getTime","params":{}}`)
		if p, early := client.next(time.Second); early {
			t.Fatalf("told at once: %v", p)
		}
		if p := client.message("v1/devices/me/rpc/response/3"); string(p.payload) != `{"error":"timeout"}` {
			t.Fatalf("told %s", p.payload)
		}
	})
	t.Run("M21 silence", func(t *testing.T) {
		_, token := a.device(t, "")
		_, other := a.device(t, "")
		began := time.Now()
		silent := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
		pinging := mqttConnect(t, a.doors.MQTT, mqttHello{username: other})
		pings := time.NewTicker(2 * time.Second)
		defer pings.Stop()
		closed := make(chan string, 1)
		go func() {
			p, err := silent.read(4 * inactivity)
			closed <- fmt.Sprintf("packet %d, reason %#x, %v", p.kind, p.reason, err)
		}()
		for open := true; open; {
			select {
			case <-pings.C:
				pinging.ping()
			case told := <-closed:
				if want := fmt.Sprintf("packet %d, reason 0x8d, <nil>", mqttDISCONNECT); told != want {
					t.Errorf("the silent one was told %s, want %s", told, want)
				}
				open = false
			}
		}
		if after := time.Since(began); after < inactivity {
			t.Errorf("closed after %v", after)
		}
		pinging.ping()
	})
}
