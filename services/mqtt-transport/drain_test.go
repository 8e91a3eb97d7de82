package mqtttransport

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluice-iot/sluice/transport/certificate/certificatetest"
)

// TestDrainReasons: what MQTT 5 clients are told is a setting.
func TestDrainReasons(t *testing.T) {
	for name, reason := range map[string]byte{
		"use-another-server": 0x9C, "administrative-action": 0x98, "server-shutting-down": 0x8B,
	} {
		r := start(t, func(c *Config) { c.DrainReason = name })
		r.Core.AddDevice("T")
		c := login(t, r.service.Addr(), v5, "T")
		r.stop()
		c.expectRefusal(reason)
	}
}

// TestDrainIsSpread: clients are let go a few at a time, and served until it is their turn.
func TestDrainIsSpread(t *testing.T) {
	const clients = 40
	r := start(t, func(c *Config) { c.DrainRate = 50 }) // one every 20 ms
	all := make([]*client, clients)
	for i := range all {
		token := fmt.Sprint("T", i)
		r.Core.AddDevice(token)
		all[i] = login(t, r.service.Addr(), v5, token)
	}
	begun := time.Now()
	go r.stop()
	all[0].expectRefusal(0x9C)
	all[clients-1].acknowledged(telemetryTopic, `{"t":1}`)
	for _, c := range all[1:] {
		c.expectRefusal(0x9C)
	}
	if took := time.Since(begun); took < (clients-2)*20*time.Millisecond {
		t.Errorf("all were let go within %v", took)
	}
}

// TestDrainUnderLoad: connections of every kind send as fast as they can while the service stops.
// What the bus acknowledged was acknowledged to its sender before the connection ended, and nothing else was.
func TestDrainUnderLoad(t *testing.T) {
	const each = 8
	r, _ := startTLS(t, func(c *Config) { c.WebSocket, c.DrainRate = "127.0.0.1:0", 100 })
	var acknowledged atomic.Int64
	var sending sync.WaitGroup
	var warm sync.WaitGroup
	for i := range 3 * each {
		token := fmt.Sprint("T", i)
		r.Core.AddDevice(token)
		c := loginOver(t, r, i%3, token)
		warm.Add(1)
		sending.Go(func() { acknowledged.Add(int64(flood(c, 16, sync.OnceFunc(warm.Done)))) })
	}
	warm.Wait()
	r.stop()
	sending.Wait()
	uplinks, err := r.Bus.Uplinks()
	if err != nil {
		t.Fatal(err)
	}
	if got := int(acknowledged.Load()); got != len(uplinks) || got < 3*each {
		t.Errorf("%d acknowledged to devices, %d by the bus", got, len(uplinks))
	}
	t.Logf("%d readings acknowledged", len(uplinks))
}

// loginOver logs in over TCP, TLS or WebSocket.
func loginOver(t *testing.T, r *rig, kind int, token string) *client {
	t.Helper()
	var c *client
	switch kind {
	case 0:
		c = dial(t, r.service.Addr(), v311)
	case 1:
		conn, _ := certificatetest.Dial(t, r.service.TLSAddr(), "mqtt.example.org")
		c = newClient(t, conn, v311)
	default:
		c = dialWebSocket(t, "http://"+r.service.WebSocketAddr()+"/mqtt", v311)
	}
	if code := c.connect(hello("", token, "-")); code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}
	return c
}

// flood sends until the connection ends, at most window messages unacknowledged, and returns how
// many acknowledgements came. warm is called after some of them.
func flood(c *client, window int, warm func()) (acknowledged int) {
	defer warm()
	message := sample()
	idAt := 2 + 2 + len(telemetryTopic)
	room := make(chan struct{}, window)
	ended := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for id := uint16(1); ; id = id%65535 + 1 {
			select {
			case room <- struct{}{}:
			case <-ended:
				return
			}
			binary.BigEndian.PutUint16(message[idAt:], id)
			if _, err := c.conn.Write(message); err != nil {
				return // the reader notices
			}
		}
	})
	defer writing.Wait()
	defer close(ended)
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return acknowledged
	}
	for ack := make([]byte, 4); ; acknowledged++ {
		if _, err := io.ReadFull(c.in, ack); err != nil || ack[0] != packets.Puback<<4 {
			return acknowledged
		}
		<-room
		if acknowledged == 20 {
			warm()
		}
	}
}

// TestNothingIsAcceptedWhileDraining: a listener is closed before the first client is let go.
func TestNothingIsAcceptedWhileDraining(t *testing.T) {
	r, _ := startTLS(t, nil)
	r.Core.AddDevice("T")
	c := login(t, r.service.Addr(), v5, "T")
	go r.stop()
	c.expectRefusal(0x9C)
	for _, address := range []string{r.service.Addr(), r.service.TLSAddr()} {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			t.Errorf("%s still accepts", address)
		}
	}
}
