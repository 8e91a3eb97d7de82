package mqtttransport

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// batching is a bus that has what was published a moment later, many messages at a time, as the
// real one does; it costs next to nothing, so that what is measured is this side of it.
type batching struct {
	*transporttest.Bus
	mu      sync.Mutex
	waiting []func(error)
	wake    chan struct{}
}

func (b *batching) Publish(m bus.Message, done func(error)) error {
	if m.Topic != topics.RuleEngine {
		done(nil)
		return nil
	}
	b.mu.Lock()
	b.waiting = append(b.waiting, done)
	first := len(b.waiting) == 1
	b.mu.Unlock()
	if first {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

func (b *batching) run() {
	var batch []func(error)
	for range b.wake {
		time.Sleep(100 * time.Microsecond)
		b.mu.Lock()
		batch, b.waiting = b.waiting, batch[:0]
		b.mu.Unlock()
		for _, done := range batch {
			done(nil)
		}
	}
}

// BenchmarkAcknowledged measures QoS 1 messages from socket to acknowledgement without the cost of
// a broker. The clients are in the same process and count in.
func BenchmarkAcknowledged(b *testing.B) {
	for _, shape := range []struct{ clients, inFlight int }{{200, 16}, {50, 1}} {
		b.Run(fmt.Sprintf("%dx%d", shape.clients, shape.inFlight), func(b *testing.B) {
			benchmarkAcknowledged(b, shape.clients, shape.inFlight)
		})
	}
}

// TestManyInFlight: connections that have many messages in flight get every acknowledgement, in order.
func TestManyInFlight(t *testing.T) {
	const clients, each, inFlight = 50, 400, 16
	conns := openMany(t, clients)
	var group sync.WaitGroup
	for _, conn := range conns {
		group.Go(func() {
			if err := pump(conn, sample(), each, inFlight); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// openMany starts a service on a batching bus and logs clients in.
func openMany(b testing.TB, clients int) []net.Conn {
	b.Helper()
	core := transporttest.NewCore()
	fast := &batching{Bus: transporttest.NewBus(core), wake: make(chan struct{}, 1)}
	var running sync.WaitGroup
	running.Go(fast.run)
	tr, err := transport.New(transporttest.Config(b), fast, transport.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s, stop := serve(b, tr, nil)
	b.Cleanup(func() {
		stop()
		close(fast.wake)
		running.Wait()
		fast.Close()
	})
	conns := make([]net.Conn, clients)
	for i := range conns {
		token := fmt.Sprintf("TOKEN%d", i)
		core.AddDevice(token)
		conns[i] = login(b, s.Addr(), v311, token).conn
	}
	return conns
}

func sample() []byte {
	payload := []byte(`{"ts":1700000000000,"values":{"temperature":21.5,"humidity":40,"status":"ok","pressure":1013.25}}`)
	return packet.AppendPublish(nil, packet.V311, 1, 1, telemetryTopic, payload)
}

func benchmarkAcknowledged(b *testing.B, clients, inFlight int) {
	conns, message := openMany(b, clients), sample()
	b.ReportAllocs()
	b.SetBytes(int64(len(message)))
	b.ResetTimer()
	var group sync.WaitGroup
	for _, conn := range conns {
		group.Go(func() {
			if err := pump(conn, message, b.N/clients+1, inFlight); err != nil {
				b.Error(err)
			}
		})
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64(clients*(b.N/clients+1))/b.Elapsed().Seconds(), "msg/s")
}

// pump sends n messages, at most inFlight of them unacknowledged, and checks the order of the acknowledgements.
func pump(conn net.Conn, message []byte, n, inFlight int) error {
	idAt := 2 + 2 + len(telemetryTopic)
	var out []byte
	in := make([]byte, 4*inFlight)
	sent, acknowledged := 0, 0
	for held := 0; acknowledged < n; {
		out = out[:0]
		for ; sent < n && sent-acknowledged < inFlight; sent++ {
			begin := len(out)
			out = append(out, message...)
			binary.BigEndian.PutUint16(out[begin+idAt:], uint16(sent%65535)+1)
		}
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return err
			}
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		got, err := conn.Read(in[held:])
		if err != nil {
			return fmt.Errorf("after %d of %d: %w", acknowledged, n, err)
		}
		held += got
		at := 0
		for ; held-at >= 4; at += 4 {
			if want := uint16(acknowledged%65535) + 1; in[at] != 0x40 || binary.BigEndian.Uint16(in[at+2:]) != want {
				return fmt.Errorf("got % x, want PUBACK of %d", in[at:at+4], want)
			}
			acknowledged++
		}
		held = copy(in, in[at:held])
	}
	return nil
}
