package system

import (
	"bytes"
	"encoding/json"
	"testing"
)

// deviceMQTTPackages are the cases of firmware over MQTT (device-api §8.3).
func deviceMQTTPackages(t *testing.T, a *deviceAPI) {
	kind := a.profile(t, "DEFAULT", nil)
	device, token := a.device(t, kind)
	data := bytes.Repeat([]byte("0123456789abcdef"), 625) // 10,000 bytes
	client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
	client.subscribe(1, mqttAttributesTopic)
	a.assign(t, device, a.firmware(t, device, data))
	t.Run("M84 announced", func(t *testing.T) {
		told := map[string]any{}
		for len(told) < 5 {
			if err := json.Unmarshal(client.message(mqttAttributesTopic).payload, &told); err != nil {
				t.Fatal(err)
			}
		}
		for _, key := range []string{"fw_title", "fw_version", "fw_size", "fw_checksum", "fw_checksum_algorithm"} {
			if told[key] == nil {
				t.Errorf("%s is not told, only %v", key, told)
			}
		}
		if told["fw_size"] != float64(len(data)) {
			t.Errorf("fw_size %v", told["fw_size"])
		}
	})
	client.unsubscribe(mqttAttributesTopic)
	chunk := func(t *testing.T, id, n, size string, want []byte) {
		t.Helper()
		client.publish("v2/fw/request/"+id+"/chunk/"+n, size)
		if p := client.message("v2/fw/response/" + id + "/chunk/" + n); !bytes.Equal(p.payload, want) {
			t.Fatalf("%d bytes in chunk %s, want %d", len(p.payload), n, len(want))
		}
	}
	t.Run("M79 chunks", func(t *testing.T) {
		chunk(t, "1", "0", "4096", data[:4096])
		chunk(t, "1", "2", "", data[8192:])
		chunk(t, "1", "3", "", nil)
	})
	t.Run("M80 whole", func(t *testing.T) { chunk(t, "2", "0", "", data) })
	t.Run("M83 no subscription needed", func(t *testing.T) {
		if codes := client.subscribe(1, "v2/fw/response/+"); codes[0] != 0x8f {
			t.Fatalf("granted %#x", codes[0])
		}
		chunk(t, "3", "1", "16", data[16:32])
	})
	for _, c := range []struct{ name, topic, size, text string }{
		{"M81 nothing assigned", "v2/sw/request/1/chunk/0", "16", "NOT_FOUND"},
		{"M82 too large", "v2/fw/request/1/chunk/0", "70000", "PAYLOAD_TOO_LARGE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
			client.send(1, c.topic, []byte(c.size))
			if p := client.message("v2/fw/error"); string(p.payload) != c.text {
				t.Fatalf("told %q", p.payload)
			}
			if reason := client.closed(); reason != 0x83 {
				t.Fatalf("DISCONNECT %#x", reason)
			}
		})
	}
}

// firmware makes a package for the device's profile, and returns its id.
func (a *deviceAPI) firmware(t *testing.T, device string, data []byte) (id string) {
	t.Helper()
	id, err := a.tenant.NewFirmware(t.Context(), device, unique("firmware"), data)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// assign assigns a firmware to a device.
func (a *deviceAPI) assign(t *testing.T, device, firmware string) {
	t.Helper()
	if err := a.tenant.AssignFirmware(t.Context(), device, firmware); err != nil {
		t.Fatal(err)
	}
}
