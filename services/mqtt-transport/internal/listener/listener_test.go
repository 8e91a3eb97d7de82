package listener

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/proxy"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/certificate"
	"github.com/sluice-iot/sluice/transport/certificate/certificatetest"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// way is how connections are read: by pollers where there are any, by a goroutine each, or under TLS.
type way struct {
	serve func(*Server, context.Context, net.Listener, Entry) error
	tls   bool
}

var ways = map[string]way{
	"pollers": {(*Server).Serve, false}, "a goroutine each": {(*Server).serveEach, false}, "TLS": {(*Server).Serve, true},
}

// entry is how connections begin; header may come before from the loopback address when trusted.
func (w way) entry(t *testing.T, trusted ...string) (e Entry) {
	t.Helper()
	var err error
	if e.Trusted, err = proxy.ParseTrusted(trusted); err != nil {
		t.Fatal(err)
	}
	if !w.tls {
		return e
	}
	metrics, err := certificate.NewMetrics(nil, "mqtt_transport")
	if err != nil {
		t.Fatal(err)
	}
	path := certificatetest.Write(t, t.TempDir(), "default.pem", 1, "localhost")
	store, err := certificate.Open(path, metrics, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	e.TLS = store.Config()
	return e
}

// dial connects, sends header and then, if so, shakes hands.
func (w way) dial(t *testing.T, addr, header string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if header != "" {
		write(t, conn, []byte(header))
	}
	if w.tls {
		return tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	return conn
}

// under returns the socket below conn.
func under(conn net.Conn) *net.TCPConn {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	return conn.(*net.TCPConn)
}

// start starts a server of platform and returns its address. It is drained with the test.
func start(t *testing.T, w way, platform session.Platform, change func(*session.Rules, *Options)) (*Server, string) {
	t.Helper()
	return startWith(t, w, w.entry(t), platform, slog.New(slog.DiscardHandler), change)
}

func startWith(t *testing.T, w way, e Entry, platform session.Platform, log *slog.Logger, change func(*session.Rules, *Options)) (*Server, string) {
	t.Helper()
	rules := session.Rules{
		ConnectBytes: 8192, PacketBytes: 1 << 20, InFlight: 64, OutputBytes: 1 << 20, AttributeReads: 4,
		ConnectTimeout: 10 * time.Second, Inactivity: time.Minute,
	}
	options := Options{Connections: 100, WriteTimeout: 10 * time.Second, DrainTimeout: time.Second, DrainRate: 5000}
	if change != nil {
		change(&rules, &options)
	}
	counts, err := session.NewMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := NewMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := New(options, session.NewHub(rules, platform, counts, log), metrics, log)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.serve(s, ctx, l, e); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
		s.Drain()
	})
	return s, l.Addr().String()
}

// TestStoppedBeforeItServes: a service that is stopped as it starts closes its listeners first, and has not failed.
func TestStoppedBeforeItServes(t *testing.T) {
	for name, w := range ways {
		t.Run(name, func(t *testing.T) {
			s, _ := start(t, w, transporttest.Start(t, nil).Transport, nil)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			stop()
			if err := w.serve(s, ctx, l, w.entry(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func (w way) connect(t *testing.T, addr, token string) net.Conn {
	t.Helper()
	conn := w.dial(t, addr, "")
	write(t, conn, hello(token))
	expect(t, conn, "\x20\x02\x00\x00")
	return conn
}

func hello(token string) []byte {
	body := append([]byte("\x00\x04MQTT\x04\x82\x00\x00\x00\x01c\x00"), byte(len(token)))
	body = append(body, token...)
	return append([]byte{0x10, byte(len(body))}, body...)
}

func write(t *testing.T, conn net.Conn, b []byte) {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("got % x (%v), want % x", got[:n], err, want)
	}
}

func expectEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, conn)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Fatal("the connection was not ended")
	}
}

// TestPieces: a packet comes byte by byte, many come at once, and one larger than a block comes.
func TestPieces(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			rig := transporttest.Start(t, nil)
			rig.Core.AddDevice("T")
			_, addr := start(t, way, rig.Transport, nil)
			conn := way.connect(t, addr, "T")
			message := func(id uint16, size int) []byte {
				payload := append([]byte(`{"t":"`), make([]byte, size)...)
				for i := range payload[6:] {
					payload[6+i] = 'x'
				}
				return packet.AppendPublish(nil, packet.V311, 1, id, "v2/t", append(payload, `"}`...))
			}
			for _, b := range message(1, 20) {
				write(t, conn, []byte{b})
			}
			expect(t, conn, "\x40\x02\x00\x01")
			var many []byte
			want := ""
			for id := range uint16(500) {
				many = append(many, message(id+2, int(id))...)
				want += string(packet.AppendAck(nil, packet.V311, packet.PUBACK, id+2, 0))
			}
			var sending sync.WaitGroup
			sending.Go(func() {
				if _, err := conn.Write(many); err != nil {
					t.Error(err)
				}
			})
			expect(t, conn, want)
			sending.Wait()
			write(t, conn, append(message(1000, 200_000), message(1001, 5)...))
			expect(t, conn, "\x40\x02\x03\xe8\x40\x02\x03\xe9")
			rig.Uplinks(t, 503)
		})
	}
}

// TestClientThatDoesNotRead: what it is owed is bounded, by bytes and by time; others do not notice.
func TestClientThatDoesNotRead(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			rig := transporttest.Start(t, nil)
			d := rig.Core.AddDevice("DEAF")
			rig.Core.Change(func() {
				d.Client = []telemetry.KeyValue{{Key: "k", Value: telemetry.OfString(string(make([]byte, 100_000)))}}
			})
			rig.Core.AddDevice("T")
			_, addr := start(t, way, rig.Transport, func(_ *session.Rules, o *Options) { o.WriteTimeout = 200 * time.Millisecond })
			deaf, other := way.connect(t, addr, "DEAF"), way.connect(t, addr, "T")
			if err := under(deaf).SetReadBuffer(4096); err != nil {
				t.Fatal(err)
			}
			request := packet.AppendPublish(nil, packet.V311, 0, 0, "v2/a/req/1", []byte(`{}`))
			for err := error(nil); err == nil; { // until the server ends it
				if err = deaf.SetWriteDeadline(time.Now().Add(20 * time.Second)); err == nil {
					_, err = deaf.Write(request)
				}
				if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
					t.Fatal("the connection was not ended")
				}
			}
			write(t, other, []byte("\xc0\x00"))
			expect(t, other, "\xd0\x00")
		})
	}
}

// panicking is a platform with a bug that one device uncovers.
type panicking struct{ *transport.Transport }

func (p panicking) PublishTelemetry(d *transport.Device, from transport.Origin, data []byte, done func(error)) error {
	if string(data) == "bug" {
		panic("bug")
	}
	return p.Transport.PublishTelemetry(d, from, data, done)
}

// TestPanic: a bug ends the connection that met it and no other.
func TestPanic(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			rig := transporttest.Start(t, nil)
			rig.Core.AddDevice("UNLUCKY")
			rig.Core.AddDevice("T")
			_, addr := start(t, way, panicking{rig.Transport}, nil)
			unlucky, other := way.connect(t, addr, "UNLUCKY"), way.connect(t, addr, "T")
			write(t, unlucky, packet.AppendPublish(nil, packet.V311, 1, 1, "v2/t", []byte(`bug`)))
			expectEnd(t, unlucky)
			write(t, other, packet.AppendPublish(nil, packet.V311, 1, 1, "v2/t", []byte(`{"t":1}`)))
			expect(t, other, "\x40\x02\x00\x01")
		})
	}
}

// TestComeAndGo: connections end while their messages are in flight, in every way, many at once.
func TestComeAndGo(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			rig := transporttest.Start(t, nil)
			for _, token := range []string{"A", "B", "C", "D"} {
				rig.Core.AddDevice(token)
			}
			_, addr := start(t, way, rig.Transport, nil)
			var clients sync.WaitGroup
			for _, token := range []string{"A", "B", "C", "D"} {
				clients.Go(func() {
					for round := range 30 {
						conn := way.connect(t, addr, token)
						for id := range uint16(5) {
							write(t, conn, packet.AppendPublish(nil, packet.V311, 1, id+1, "v2/t", []byte(`{"t":1}`)))
						}
						switch round % 3 {
						case 0:
							write(t, conn, []byte("\xe0\x00"))
							expectEnd(t, conn)
						case 1:
							if err := under(conn).SetLinger(0); err != nil { // its end is a reset
								t.Error(err)
							}
						}
						under(conn).Close() // without TLS's farewell
					}
				})
			}
			clients.Wait()
		})
	}
}
