package mqtttransport

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// TestConnect holds CONNECT to device-api §8.1.
func TestConnect(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	r.Core.AddDevice("X")
	r.Core.AddDevice("COAP").TransportType = "COAP"
	for _, basic := range []transporttest.Basic{
		{ClientID: "onlyClient"},
		{ClientID: "c", Username: "u", Password: "p"},
		{Username: "anyClient", Password: "p"},
		{ClientID: "C", Username: "X"},
	} {
		r.Core.AddDevice("").Basic = &basic
	}
	for _, c := range []struct {
		name    string
		version byte
		connect packets.Packet
		code    byte
	}{
		{"M01", v311, hello("", "T", "-"), 0},
		{"M01 at 3.1", v31, hello("client", "T", "-"), 0},
		{"M01 at 5", v5, hello("", "T", "-"), 0},
		{"M02", v311, hello("whatever", "T", "junk"), 0},
		{"M03", v311, hello("", "wrong", "-"), 5},
		{"M04", v5, hello("", "wrong", "-"), 0x86},
		{"M05", v311, hello("unknown", "-", "-"), 2},
		{"M06", v5, hello("unknown", "-", "-"), 0x85},
		{"M07", v5, hello("", "-", "-"), 0x87},
		{"M07 at 3.1.1", v311, hello("", "-", "-"), 5},
		{"M08", v311, hello("onlyClient", "-", "-"), 0},
		{"M09 right", v311, hello("c", "u", "p"), 0},
		{"M09 wrong password", v311, hello("c", "u", "q"), 5},
		{"M10", v311, hello("some client", "anyClient", "p"), 0},
		{"M11 both", v311, hello("C", "X", "-"), 0},
		{"M11 token", v311, hello("other", "X", "-"), 0},
		{"M12", v311, hello("", "COAP", "-"), 3},
		{"M12 at 5", v5, hello("", "COAP", "-"), 0x88},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := dial(t, r.service.Addr(), c.version)
			if got := client.connect(c.connect); got != c.code {
				t.Errorf("CONNACK %#x, want %#x", got, c.code)
			}
			if c.code == 0 {
				client.alive()
			} else {
				client.expectClosed()
			}
		})
	}
}

func TestConnackStatesTheServersLimits(t *testing.T) {
	r := start(t, func(c *Config) { c.Inactivity = 90 * time.Second })
	r.Core.AddDevice("T")
	c := dial(t, r.service.Addr(), v5)
	pk := hello("", "T", "-")
	pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
	pk.Connect.Clean = false
	c.send(pk)
	got := c.expect(packets.Connack)
	p := got.Properties
	if got.SessionPresent || !p.MaximumQosFlag || p.MaximumQos != 1 || p.ReceiveMaximum != 256 || p.MaximumPacketSize < 65536 ||
		!p.SharedSubAvailableFlag || p.SharedSubAvailable != 0 || !p.SubIDAvailableFlag || p.SubIDAvailable != 0 ||
		!p.SessionExpiryIntervalFlag || p.SessionExpiryInterval != 0 || p.AssignedClientID == "" || p.ServerKeepAlive != 60 {
		t.Errorf("CONNACK %+v, session present %v", p, got.SessionPresent)
	}
}

func TestConnectWhenThePlatformIsAway(t *testing.T) {
	for version, code := range map[byte]byte{v311: 3, v5: 0x88} {
		r := start(t, nil)
		r.Core.Fail(fault.New(fault.Unavailable, "away"))
		c := dial(t, r.service.Addr(), version)
		if got := c.connect(hello("", "T", "-")); got != code {
			t.Errorf("CONNACK %#x, want %#x", got, code)
		}
		c.expectClosed()
	}
}

// TestWaitingForThePlatformHoldsUpNobody: one device's credentials take long, another's do not.
func TestWaitingForThePlatformHoldsUpNobody(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	r.Core.AddDevice("SLOW")
	fast := login(t, r.service.Addr(), v311, "T")
	resume := r.Core.Stall()
	slow := dial(t, r.service.Addr(), v311)
	slow.send(hello("", "SLOW", "-"))
	slow.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	slow.expectNothing()
	fast.acknowledged(telemetryTopic, `{"t":1}`)
	nonsense := dial(t, r.service.Addr(), v311)
	nonsense.write([]byte("nonsense"))
	nonsense.expectClosed()
	resume()
	slow.expectReason(packets.Connack, 0)
	slow.expect(packets.Pingresp) // sent before it was accepted
}

func TestM18Takeover(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	for _, version := range []byte{v311, v5} {
		first := login(t, r.service.Addr(), version, "T")
		second := login(t, r.service.Addr(), version, "T")
		first.expectRefusal(0x8E)
		second.acknowledged(telemetryTopic, `{"t":1}`)
		second.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
		second.expectClosed()
	}
}

func TestM19M20CredentialsChangedAndDeviceDeleted(t *testing.T) {
	r := start(t, nil)
	d := r.Core.AddDevice("T")
	for _, version := range []byte{v311, v5} {
		c := login(t, r.service.Addr(), version, "T")
		r.Changed(t, d, false, true)
		c.expectRefusal(0x98)
	}
	c := login(t, r.service.Addr(), v5, "T")
	r.Core.Remove(d)
	r.Changed(t, d, true, false)
	c.expectRefusal(0x98)
	if code := dial(t, r.service.Addr(), v5).connect(hello("", "T", "-")); code != 0x86 {
		t.Errorf("CONNACK %#x for a deleted device, want 0x86", code)
	}
}

func TestM21Silence(t *testing.T) {
	r := start(t, func(c *Config) { c.Inactivity = 2 * time.Second })
	r.Core.AddDevice("T")
	r.Core.AddDevice("PINGING")
	c := login(t, r.service.Addr(), v5, "T")
	pinging := login(t, r.service.Addr(), v5, "PINGING")
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		c.expectRefusal(0x8D)
	}()
	for begun := time.Now(); time.Since(begun) < 5*time.Second; time.Sleep(500 * time.Millisecond) {
		pinging.alive()
	}
	<-closed
	pinging.alive()
}

func TestM22UnknownVersion(t *testing.T) {
	r := start(t, nil)
	c := dial(t, r.service.Addr(), v311)
	b, err := encode(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: 9, Connect: hello("", "T", "-").Connect})
	if err != nil {
		t.Fatal(err)
	}
	c.write(b)
	c.expectClosed()
}

func TestM24Disconnect(t *testing.T) {
	r := start(t, nil)
	d := r.Core.AddDevice("T")
	c := login(t, r.service.Addr(), v311, "T")
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	c.expectClosed()
	reports := r.Reports(t, 2)
	opened, closed := reports[0].GetSessionOpened(), reports[1].GetSessionClosed()
	if opened == nil || closed == nil || !bytes.Equal(opened.GetSessionId(), closed.GetSessionId()) {
		t.Fatalf("the core was told %v", reports)
	}
	for _, m := range reports {
		if !bytes.Equal(m.GetEntity().GetId(), d.ID.ID[:]) || m.GetEntity().GetType() != sluicepb.EntityType_DEVICE {
			t.Errorf("of %v, want device %v", m.GetEntity(), d.ID)
		}
	}
}

// TestBeforeConnect: what is not a CONNECT ends the connection, and nothing is answered.
func TestBeforeConnect(t *testing.T) {
	r := start(t, func(c *Config) { c.ConnectTimeout = time.Second })
	r.Core.AddDevice("T")
	for name, bytes := range map[string]string{
		"ping":                  "\xc0\x00",
		"publish":               "\x30\x03\x00\x01t",
		"one byte of nonsense":  "\x00",
		"http":                  "GET / HTTP/1.1\r\n\r\n",
		"huge length":           "\x10\xff\xff\xff\x7f",
		"endless length":        "\x10\xff\xff\xff\xff",
		"reserved flags":        "\x11\x00",
		"empty":                 "\x10\x00",
		"3.1 without client id": "\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x00\x00\x00",
		"nothing":               "",
		"half":                  "\x10\x0e\x00\x06MQ",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, r.service.Addr(), v311)
			c.write([]byte(bytes))
			c.expectClosed()
		})
	}
	second := login(t, r.service.Addr(), v5, "T")
	second.send(hello("", "T", "-"))
	second.expectRefusal(0x82)
}

// silent opens n connections together that say nothing, sees all of them closed long before the
// connect timeout, and returns how long the first of them lasted.
func (r *rig) silent(t *testing.T, n int) time.Duration {
	t.Helper()
	clients, lasted := make([]*client, n), make([]time.Duration, n)
	for i := range clients {
		clients[i] = dial(t, r.service.Addr(), v5)
	}
	begun, waiting := time.Now(), sync.WaitGroup{}
	for i, c := range clients {
		waiting.Go(func() {
			_, _ = c.read(patience) // its end, or that none came
			lasted[i] = time.Since(begun)
		})
	}
	waiting.Wait()
	if last := slices.Max(lasted); last >= patience {
		t.Fatalf("a silent connection lasted %v", last)
	}
	return slices.Min(lasted)
}

// TestConnectionLimit: at the bound clients are told so, a few at a time; those connected do not notice.
func TestConnectionLimit(t *testing.T) {
	r := start(t, func(c *Config) { c.Connections, c.Refusals, c.ConnectTimeout = 2, 2, time.Hour })
	r.Core.AddDevice("T")
	r.Core.AddDevice("U")
	c, other := login(t, r.service.Addr(), v311, "T"), login(t, r.service.Addr(), v311, "U")
	for version, code := range map[byte]byte{v311: 3, v5: 0x89} {
		more := dial(t, r.service.Addr(), version)
		if got := more.connect(hello("", "T", "-")); got != code {
			t.Errorf("CONNACK %#x, want %#x", got, code)
		}
		more.expectClosed()
		more.conn.Close()
	}
	for deadline := time.Now().Add(patience); r.silent(t, 6) >= session.Tick; {
		if time.Now().After(deadline) {
			t.Fatal("none of six silent connections was closed at once, and there were two places")
		}
	}
	c.alive()
	other.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	other.expectClosed()
	other.conn.Close() // until then the server waits a moment for it
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		again := dial(t, r.service.Addr(), v5)
		again.send(hello("", "U", "-"))
		if pk, err := again.read(patience); err == nil && pk.ReasonCode == 0 {
			again.alive()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the place that became free was not given away")
		}
	}
}
