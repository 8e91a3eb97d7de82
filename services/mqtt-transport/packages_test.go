package mqtttransport

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluice-iot/sluice/transport/transporttest"
)

// dataOf returns n bytes that do not repeat soon.
func dataOf(n int) []byte {
	data := make([]byte, n)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

func (c *client) expectChunk(topic string, data []byte) {
	c.t.Helper()
	pk := c.expect(packets.Publish)
	if pk.TopicName != topic || !bytes.Equal(pk.Payload, data) {
		c.t.Errorf("%d bytes on %s, want %d on %s", len(pk.Payload), pk.TopicName, len(data), topic)
	}
	if pk.FixedHeader.Qos > 0 {
		c.acknowledge(pk)
	}
}

// TestM79Chunks: a chunk size that was given once applies to the later requests under its id, firmware's and software's apart.
func TestM79Chunks(t *testing.T) {
	for _, version := range []byte{v311, v5} {
		r, d, c := startDevice(t, version, nil)
		firmware, software := dataOf(10000), dataOf(5000)
		r.Core.Change(func() {
			d.Firmware = &transporttest.Package{Title: "f", Data: firmware}
		})
		d.Firmware, d.Software = r.Core.AddPackage("f", "1", firmware), r.Core.AddPackage("s", "1", software)
		for _, row := range []struct {
			topic, size string
			data        []byte
		}{
			{"v2/fw/request/1/chunk/0", "4096", firmware[:4096]},
			{"v2/fw/request/1/chunk/2", "", firmware[8192:]},
			{"v2/fw/request/1/chunk/3", "", nil},
			{"v2/fw/request/1/chunk/9223372036854775807", "", nil},
			{"v2/fw/request/1/chunk/1", "100", firmware[100:200]},
			{"v2/sw/request/1/chunk/0", "", software}, // its own id
			{"v2/sw/request/1/chunk/1", "", nil},
		} {
			c.acknowledged(row.topic, row.size)
			c.expectChunk(strings.Replace(row.topic, "request", "response", 1), row.data)
		}
	}
}

// TestM80WholePackage: without a chunk size all of it comes in one message, and what comes up meanwhile follows it.
func TestM80WholePackage(t *testing.T) {
	r, d, c := startDevice(t, v5, nil)
	data := dataOf(3_000_000)
	d.Firmware = r.Core.AddPackage("f", "1", data)
	id := c.publish(1, "v2/fw/request/2/chunk/0", "")
	if pk := c.expect(packets.Puback); pk.PacketID != id {
		t.Fatalf("PUBACK of %d", pk.PacketID)
	}
	for range 3 {
		c.publish(1, telemetryTopic, `{"t":1}`)
	}
	c.publish(1, "v2/fw/request/2/chunk/0", "65536")
	c.expectChunk("v2/fw/response/2/chunk/0", data)
	for range 4 {
		c.expectReason(packets.Puback, 0)
	}
	c.expectChunk("v2/fw/response/2/chunk/0", data[:65536])
	c.alive()
}

// TestPackageErrors: what cannot be sent is said, and ends the connection.
func TestPackageErrors(t *testing.T) {
	for _, row := range []struct {
		name, topic, size, text string
	}{
		{"M81 nothing assigned", "v2/sw/request/1/chunk/0", "100", "NOT_FOUND"},
		{"M82 chunk too large", "v2/fw/request/1/chunk/0", "70000", "PAYLOAD_TOO_LARGE"},
		{"whole too large", "v2/fw/request/1/chunk/0", "", "PAYLOAD_TOO_LARGE"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t, func(c *Config) { c.PackageBytes = 9999 })
			d := r.Core.AddDevice("T")
			d.Firmware = r.Core.AddPackage("f", "1", dataOf(10000))
			for _, version := range []byte{v311, v5} {
				c := login(t, r.service.Addr(), version, "T")
				c.subscribe(0, "v2/fw/error")
				c.publish(1, row.topic, row.size)
				c.expectMessage("v2/fw/error", row.text, 0)
				c.expectRefusal(0x83)
			}
		})
	}
	t.Run("M81 elsewhere", func(t *testing.T) {
		r, d, c := startDevice(t, v5, nil)
		d.Firmware = r.Core.AddPackage("f", "1", nil)
		d.Firmware.URL = "https://example.org/f"
		c.publish(1, "v2/fw/request/1/chunk/0", "")
		c.expectMessage("v2/fw/error", "FAILURE", 1)
		c.expectRefusal(0x83)
	})
}

func TestM83NoSubscriptionNeeded(t *testing.T) {
	r, d, c := startDevice(t, v5, nil)
	d.Firmware = r.Core.AddPackage("f", "1", dataOf(100))
	if codes := c.subscribe(1, "v2/fw/response/+"); !bytes.Equal(codes, []byte{0x8f}) {
		t.Errorf("granted %v", codes)
	}
	c.acknowledged("v2/fw/request/1/chunk/0", "100")
	c.expectChunk("v2/fw/response/1/chunk/0", d.Firmware.Data)
	for _, size := range []string{"x", "-1", "0", "1.5"} {
		c.publish(1, "v2/fw/request/1/chunk/0", size)
		c.expectReason(packets.Puback, 0x99)
	}
}
