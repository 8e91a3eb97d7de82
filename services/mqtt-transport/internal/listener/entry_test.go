package listener

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/proxy"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

const (
	loopback = "127.0.0.0/8"
	// behalf is the header of a connection on behalf of 203.0.113.7:50000.
	behalf = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\x7f\x00\x00\x01\xc3\x50\x07\x5b"
	local  = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

// serving is a server that a test looks into.
type serving struct {
	*Server
	addr string
	way  way
	log  *safeBuffer
}

// safeBuffer is a log that is read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// behind starts a server that trusts those peers.
func behind(t *testing.T, w way, change func(*session.Rules, *Options), trusted ...string) serving {
	t.Helper()
	rig := transporttest.Start(t, nil)
	rig.Core.AddDevice("T")
	log := &safeBuffer{}
	text := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, addr := startWith(t, w, w.entry(t, trusted...), rig.Transport, text, change)
	return serving{s, addr, w, log}
}

// greet says hello after header, is let in and leaves; want is the server's idea of the client ("": its address).
func (s serving) greet(t *testing.T, header, want string) {
	t.Helper()
	conn := s.way.dial(t, s.addr, header)
	write(t, conn, hello("T"))
	expect(t, conn, "\x20\x02\x00\x00")
	if want == "" {
		want = under(conn).LocalAddr().String()
	}
	write(t, conn, []byte("\xe0\x00"))
	expectEnd(t, conn)
	s.await(t, "remote="+want+" cause=client\n")
}

// await waits until the log says text, and forgets it.
func (s serving) await(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(s.log.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not say %q:\n%s", text, s.log)
		}
	}
	s.log.reset()
}

func (s serving) count() (n int) {
	s.each(func(*conn) { n++ })
	return n
}

func TestProxyHeader(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			s := behind(t, way, nil, "192.0.2.1", loopback)
			s.greet(t, behalf, "203.0.113.7:50000")
			s.greet(t, local, "")
			s.greet(t, "", "") // a health check
			largest := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x02\x08\xcb\x00\x71\x07\x7f\x00\x00\x01\xc3\x50\x07\x5b" + strings.Repeat("x", proxy.MaxBytes-28)
			s.greet(t, largest, "203.0.113.7:50000")
			if taken := testutil.ToFloat64(s.metrics.headers.WithLabelValues("taken")); taken != 3 {
				t.Errorf("%v headers counted, want 3", taken)
			}
		})
	}
}

// TestProxyHeaderInPieces: a header comes byte by byte, and together with what follows it.
func TestProxyHeaderInPieces(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			s := behind(t, way, nil, loopback)
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for _, b := range []byte(behalf) {
				write(t, conn, []byte{b})
				time.Sleep(time.Millisecond)
			}
			if way.tls {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			write(t, conn, hello("T"))
			expect(t, conn, "\x20\x02\x00\x00")
			write(t, conn, []byte("\xe0\x00"))
			s.await(t, "remote=203.0.113.7:50000 cause=client\n")
			if way.tls {
				return
			}
			together := way.dial(t, s.addr, behalf+string(hello("T"))+"\xe0\x00")
			expect(t, together, "\x20\x02\x00\x00")
			s.await(t, "remote=203.0.113.7:50000 cause=client\n")
		})
	}
}

// TestProxyHeaderRefused: who is not trusted, or sends another kind of header, is told nothing.
func TestProxyHeaderRefused(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			for what, c := range map[string]struct{ header, trusted string }{
				"nobody trusted":   {header: behalf},
				"another trusted":  {header: behalf, trusted: "192.0.2.0/24"},
				"local, untrusted": {header: local},
				"version 1":        {header: "PROXY TCP4 203.0.113.7 127.0.0.1 50000 1883\r\n", trusted: loopback},
				"malformed":        {header: "\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\x0c" + behalf[16:], trusted: loopback},
				"too long":         {header: "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff", trusted: loopback},
				"twice":            {header: behalf + behalf, trusted: loopback},
			} {
				var trusted []string
				if c.trusted != "" {
					trusted = []string{c.trusted}
				}
				s := behind(t, way, nil, trusted...)
				conn, err := net.Dial("tcp", s.addr)
				if err != nil {
					t.Fatal(err)
				}
				write(t, conn, []byte(c.header))
				if !way.tls {
					_, _ = conn.Write(hello("T")) // it may be closed by now
				}
				got := readAll(t, conn)
				if len(got) > 0 && got[0] != 0x15 { // TLS says "alert"
					t.Errorf("%s: answered % x", what, got)
				}
				conn.Close()
			}
		})
	}
}

// readAll reads to the end, which must come.
func readAll(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var all []byte
	for b := make([]byte, 1024); ; {
		n, err := conn.Read(b)
		all = append(all, b[:n]...)
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Fatal("the connection was not ended")
		}
		if err != nil {
			return all
		}
	}
}

// TestHandshakeIsBounded: who does not shake hands, or not with TLS, is closed in time.
func TestHandshakeIsBounded(t *testing.T) {
	w := ways["TLS"]
	s := behind(t, w, func(r *session.Rules, _ *Options) { r.ConnectTimeout = time.Second }, loopback)
	silent, half, header, plain := w.dial(t, s.addr, ""), w.dial(t, s.addr, "\x16\x03\x01\x02\x00\x01"), w.dial(t, s.addr, behalf[:20]), w.dial(t, s.addr, "")
	write(t, under(plain), hello("T"))
	for _, conn := range []net.Conn{silent, half, header, plain} {
		readAll(t, under(conn))
	}
	for s.count() > 0 {
		time.Sleep(time.Millisecond)
	}
	s.log.reset()
	if failed := testutil.ToFloat64(s.metrics.handshakes.WithLabelValues("failed")); failed != 4 {
		t.Errorf("%v handshakes failed, want 4", failed)
	}
	s.greet(t, behalf, "203.0.113.7:50000")
}

// TestSettingsOfAnEntry: no peer is trusted that was not named.
func TestSettingsOfAnEntry(t *testing.T) {
	for _, e := range []Entry{{}, {Trusted: mustTrust(t, "192.0.2.1")}} {
		if e.fronted(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}) || e.fronted(nil) {
			t.Errorf("%v trusts", e.Trusted)
		}
	}
}

func mustTrust(t *testing.T, networks ...string) proxy.Trusted {
	t.Helper()
	trusted, err := proxy.ParseTrusted(networks)
	if err != nil {
		t.Fatal(err)
	}
	return trusted
}
