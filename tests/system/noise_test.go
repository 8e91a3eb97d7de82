package system

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	noiseTime    = 3 * time.Second
	noiseSources = 3 // at each door
)

// noise is one way to talk nonsense: something to say first, and whether to go on with bytes of
// any kind or to stop in the middle.
type noise struct {
	name, network, address string
	sensible               []byte // a well-formed beginning that gets cut or corrupted; may be empty
}

// TestAnyBytesOnAnyPort talks nonsense at every door while honest devices publish: the process
// lives, counts it, and stores every honest reading.
func TestAnyBytesOnAnyPort(t *testing.T) {
	ctx, platform, tenant := startPlatform(t)
	token := unique("NOISY")
	if _, err := tenant.NewDevice(ctx, "noisy", token); err != nil {
		t.Fatal(err)
	}
	devices := newDevices(ctx, t, platform.Doors(), tenant, 12)
	stop := devices.run(ctx, t)
	devices.awaitAcknowledged(ctx, t, 50)
	before := counters(ctx, t, platform)

	const seed = 1
	t.Logf("seed %d", seed)
	var talking sync.WaitGroup
	for i, n := range noises(platform.Doors(), token) {
		for source := range noiseSources {
			random := rand.New(rand.NewPCG(seed, uint64(i*noiseSources+source)))
			talking.Go(func() { n.talk(ctx, random, time.Now().Add(noiseTime)) })
		}
	}
	talking.Wait()

	devices.awaitAcknowledged(ctx, t, devices.acknowledged()+50)
	stop()
	total := devices.check(ctx, t, tenant)
	after := counters(ctx, t, platform)
	for _, p := range platform.Processes() {
		if !p.Running() {
			t.Errorf("%s has ended", p.Name)
		}
	}
	for name, n := range after {
		if strings.Contains(name, "panics") && n > 0 {
			t.Errorf("%s is %v", name, n)
		}
	}
	for _, prefix := range []string{
		"mqtt_transport_connections_ended_total", "coap_transport_malformed_datagrams_total", "http_transport_requests_total",
		"mqtt_transport_messages_total",
	} {
		if moved := sumOf(after, prefix) - sumOf(before, prefix); moved <= 0 {
			t.Errorf("%s did not move", prefix)
		} else {
			t.Logf("%s moved by %v", prefix, moved)
		}
	}
	t.Logf("honest: acknowledged %d, lost %d", total.Acknowledged, len(total.Lost))
}

// noises is what is said at each door; token is a device's, of 13 to 99 bytes.
func noises(s Doors, token string) []noise {
	connect := []byte{0x10, byte(14 + len(token)), 0, 4, 'M', 'Q', 'T', 'T', 4, 0x82, 0, 60}
	connect = appendText(appendText(connect, ""), token)
	publish := appendPublish(append([]byte(nil), connect...), "v1/devices/me/telemetry", 1, []byte(`{"temperature":21.5}`))
	upgrade := func(path string) []byte {
		return []byte("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	}
	post := []byte("POST /api/v1/" + token + "/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{\"temperature\":21.5}")
	coap := append([]byte{0x41, 0x02, 0, 1, 7, 0xb3, 'a', 'p', 'i', 2, 'v', '1', 13, byte(len(token) - 13)}, token+"\x09telemetry\xff{\"a\":1}"...)
	return []noise{
		{"MQTT, anything", "tcp", s.MQTT, nil},
		{"MQTT, a publish", "tcp", s.MQTT, publish},
		{"HTTP, anything", "tcp", s.HTTP, nil},
		{"HTTP, a post", "tcp", s.HTTP, post},
		{"WebSocket of people", "tcp", s.HTTP, upgrade("/api/ws")},
		{"WebSocket of devices", "tcp", s.HTTP, upgrade("/mqtt")},
		{"CoAP, anything", "udp", s.CoAP, nil},
		{"CoAP, a post", "udp", s.CoAP, coap},
		{"operators", "tcp", s.Admin, nil},
	}
}

// talk opens connection after connection until the end. What is said is the sensible part, whole and followed by anything, cut
// anywhere, or with one byte changed.
func (n noise) talk(ctx context.Context, random *rand.Rand, end time.Time) {
	for time.Now().Before(end) {
		dialer := net.Dialer{Timeout: time.Second}
		conn, err := dialer.DialContext(ctx, n.network, n.address)
		if err != nil {
			continue // the door may have had enough for the moment
		}
		_ = conn.SetDeadline(time.Now().Add(50 * time.Millisecond)) // it cannot fail on an open connection
		for range 1 + random.IntN(4) {
			if _, err := conn.Write(n.words(random)); err != nil {
				break // being hung up on is what is asked for
			}
			if random.IntN(2) == 0 {
				_, _ = conn.Read(make([]byte, 256)) // whatever is answered
			}
		}
		conn.Close()
	}
}

func (n noise) words(random *rand.Rand) []byte {
	said := append([]byte(nil), n.sensible...)
	if len(said) > 0 {
		switch random.IntN(4) {
		case 0:
			return said[:random.IntN(len(said))]
		case 1:
			said[random.IntN(len(said))] = byte(random.Uint32())
			return said
		case 2:
			return said
		}
	}
	for range random.IntN(600) {
		said = append(said, byte(random.Uint32()))
	}
	return said
}

func counters(ctx context.Context, t *testing.T, platform Platform) map[string]float64 {
	t.Helper()
	m, err := platform.Metrics(ctx)
	if err != nil {
		t.Fatal(fmt.Errorf("read metrics: %w", err))
	}
	return m
}

// sumOf adds up a metric's values over its labels.
func sumOf(values map[string]float64, name string) (sum float64) {
	for key, n := range values {
		if base, _, _ := strings.Cut(key, "{"); base == name {
			sum += n
		}
	}
	return sum
}
