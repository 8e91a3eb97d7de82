//go:build linux && !race

package mqtttransport

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// forgetful is a bus that has everything at once and keeps nothing.
type forgetful struct{ *transporttest.Bus }

func (forgetful) Publish(_ bus.Message, done func(error)) error {
	done(nil)
	return nil
}

// rawClient is a client of which the Go runtime knows nothing but a number, so that what the
// process grows by is the server's.
type rawClient int

func dialRaw(t testing.TB, addr string) rawClient {
	t.Helper()
	_, port, _ := strings.Cut(addr, ":")
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: n, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	return rawClient(fd)
}

// exchange writes request and reads an answer of that many bytes.
func (c rawClient) exchange(t testing.TB, request []byte, answer int) {
	t.Helper()
	if _, err := syscall.Write(int(c), request); err != nil {
		t.Fatal(err)
	}
	var in [64]byte
	if n, err := syscall.Read(int(c), in[:answer]); err != nil || n != answer {
		t.Fatalf("answer of %d bytes (%v), want %d", n, err, answer)
	}
}

// resident returns the memory of this process in bytes, as the kernel counts it, once what is
// free has been given back.
func resident(t testing.TB) int {
	t.Helper()
	runtime.GC() // twice: the first shrinks stacks and empties pools, the second frees them
	debug.FreeOSMemory()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// raiseFileLimit makes room for n open files and returns how many there may be.
func raiseFileLimit(t testing.TB, n uint64) uint64 {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= n {
		return limit.Cur
	}
	limit.Cur = min(n, limit.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return limit.Cur
}

// TestIdleMemory: 10,000 accepted connections, each of a device of its own that has sent a reading,
// subscribed and pinged, cost at most 5 KB of process memory each: session, device and cached
// credentials included.
func TestIdleMemory(t *testing.T) {
	const perConnection = 5 << 10
	connections := 10000
	if files := int(raiseFileLimit(t, uint64(2*connections+1000))); files < 2*connections+1000 {
		connections = (files - 1000) / 2
	}
	core := transporttest.NewCore()
	quiet := forgetful{transporttest.NewBus(core)}
	t.Cleanup(quiet.Close)
	tr, err := transport.New(transporttest.Config(t), quiet, transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range connections {
		core.AddDevice(fmt.Sprintf("DEVICE-%013d", i))
	}
	s, stop := serve(t, tr, func(c *Config) { c.Inactivity = time.Hour })
	t.Cleanup(stop)
	talk(t, dialRaw(t, s.Addr()), 0)
	before := resident(t)
	clients := make([]rawClient, connections)
	for i := 1; i < connections; i++ {
		clients[i] = dialRaw(t, s.Addr())
		talk(t, clients[i], i)
	}
	grown := resident(t) - before
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	each := grown / (connections - 1)
	t.Logf("%d idle connections: %d bytes each (heap in use %d, stacks %d over all)", connections, each, m.HeapInuse, m.StackInuse)
	for _, c := range clients[1:] {
		if err := syscall.Close(int(c)); err != nil {
			t.Error(err)
		}
	}
	if each > perConnection {
		t.Errorf("%d bytes per idle connection, more than %d", each, perConnection)
	}
}

// talk is what a device does before it falls silent.
func talk(t testing.TB, c rawClient, i int) {
	t.Helper()
	for _, step := range []struct {
		packet packets.Packet
		answer int
	}{
		{hello(fmt.Sprintf("client-%d", i), fmt.Sprintf("DEVICE-%013d", i), "-"), 4},
		{packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1,
			Filters: packets.Subscriptions{{Filter: attributeTopic, Qos: 1}},
		}, 5},
		{packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, PacketID: 2,
			TopicName: telemetryTopic, Payload: []byte(`{"temperature":21.5}`),
		}, 4},
		{packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}}, 2},
	} {
		step.packet.ProtocolVersion = v311
		b, err := encode(step.packet)
		if err != nil {
			t.Fatal(err)
		}
		c.exchange(t, b, step.answer)
	}
}

// TestHostileConnections: 5,000 clients that never become one. Some declare packets of 256 MB, some
// send most of the largest CONNECT that is taken, some nothing. What they cost is bounded by what
// may be sent before CONNACK, and an honest device does not notice.
func TestHostileConnections(t *testing.T) {
	const perConnection = 12 << 10
	hostile := 5000
	if files := int(raiseFileLimit(t, uint64(2*hostile+1000))); files < 2*hostile+1000 {
		hostile = (files - 1000) / 2
	}
	r := start(t, nil)
	r.Core.AddDevice("T")
	honest := login(t, r.service.Addr(), v311, "T")
	honest.acknowledged(telemetryTopic, `{"t":0}`)
	before := resident(t)
	clients := make([]rawClient, hostile)
	for i := range clients {
		clients[i] = dialRaw(t, r.service.Addr())
		request := []byte("\x10\xff\xff\xff\x7f\x00\x04MQTT")
		switch i % 3 {
		case 1:
			request = append([]byte("\x10\xff\x3f\x00\x04MQTT"), make([]byte, 8000)...)
		case 2:
			request = nil
		}
		if _, err := syscall.Write(int(clients[i]), request); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			honest.acknowledged(telemetryTopic, `{"t":1}`)
		}
	}
	honest.acknowledged(telemetryTopic, `{"t":2}`)
	each := (resident(t) - before) / hostile
	t.Logf("%d hostile connections: %d bytes each", hostile, each)
	if each > perConnection {
		t.Errorf("%d bytes per hostile connection, more than %d", each, perConnection)
	}
	for _, c := range clients {
		if err := syscall.Close(int(c)); err != nil {
			t.Error(err)
		}
	}
	honest.alive()
	r.Uplinks(t, 2+(hostile+99)/100)
}
