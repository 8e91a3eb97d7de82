package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/transport/certificate/certificatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(address string) Options {
	return Options{Address: address, Clients: 5, InFlight: 4, Duration: 10 * time.Second, Messages: 1000, Payload: Reading()}
}

func check(t *testing.T, r Result, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if r.Acknowledged != 1000 || r.Refused != 0 || r.Lost != 0 {
		t.Errorf("%d acknowledged, %d refused, %d lost", r.Acknowledged, r.Refused, r.Lost)
	}
	if p50, p99 := r.Latency.Percentile(50), r.Latency.Percentile(99); p50 <= 0 || p99 < p50 || p99 > 10*time.Second {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
}

func TestHTTP(t *testing.T) {
	var mu sync.Mutex
	tokens := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != string(Reading()) || r.Method != http.MethodPost {
			w.WriteHeader(http.StatusBadRequest)
		}
		mu.Lock()
		defer mu.Unlock()
		tokens[strings.Split(r.URL.Path, "/")[3]]++
	}))
	defer server.Close()
	r, err := HTTP(context.Background(), options(server.Listener.Addr().String()))
	check(t, r, err)
	if len(tokens) != 5 {
		t.Errorf("tokens %v", tokens)
	}
}

func TestHTTPCountsRefusals(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	r, err := HTTP(context.Background(), options(server.Listener.Addr().String()))
	if err != nil || r.Refused != 1000 || r.Acknowledged != 0 {
		t.Errorf("%d refused, %d acknowledged, %v", r.Refused, r.Acknowledged, err)
	}
}

// TestCoAP: the server answers some requests separately, and wants those acknowledged.
func TestCoAP(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer conn.Close()
	separate, acknowledged := 0, make(chan struct{}, 1000)
	serving.Go(func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFromUDP(buffer)
			if err != nil {
				return
			}
			d := buffer[:n]
			if d[0]&0x30 == 0x20 {
				acknowledged <- struct{}{}
				continue
			}
			answer := append([]byte{0x64, 2<<5 | 1, d[2], d[3]}, d[4:8]...)
			if d[7]%5 == 0 {
				write(t, conn, from, []byte{0x60, 0, d[2], d[3]})
				answer[0], answer[2] = 0x44, ^d[2]
				separate++
			}
			write(t, conn, from, answer)
		}
	})
	r, err := CoAP(context.Background(), options(conn.LocalAddr().String()))
	check(t, r, err)
	conn.Close()
	serving.Wait()
	if n := len(acknowledged); separate == 0 || n < separate-5 { // each client's last may be on its way
		t.Errorf("%d of %d separate responses acknowledged", n, separate)
	}
}

func write(t *testing.T, conn *net.UDPConn, to *net.UDPAddr, d []byte) {
	if _, err := conn.WriteToUDP(d, to); err != nil {
		t.Error(err)
	}
}

// fakeMQTT acknowledges every PUBLISH, in order; it closes with the test.
func fakeMQTT(t *testing.T, swap bool) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serveMQTT(conn, swap) })
		}
	})
	return listener.Addr().String()
}

func serveMQTT(conn net.Conn, swap bool) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		first, err := in.ReadByte()
		if err != nil {
			return
		}
		length, err := in.ReadByte()
		if err != nil {
			return
		}
		body := make([]byte, length) // shorter than 128 bytes
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		answer := []byte{0x20, 2, 0, 0}
		if first == mqttPublishQoS1 {
			at := 2 + int(body[1])
			answer = []byte{mqttPuback, 2, body[at], body[at+1]}
			if swap {
				answer[3]++
			}
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

func TestMQTT(t *testing.T) {
	r, err := MQTT(context.Background(), options(fakeMQTT(t, false)))
	check(t, r, err)
}

func TestMQTTNoticesTheWrongOrder(t *testing.T) {
	r, err := MQTT(context.Background(), options(fakeMQTT(t, true)))
	if err == nil || r.Acknowledged != 0 || r.Lost == 0 {
		t.Errorf("%d acknowledged, %d lost, %v", r.Acknowledged, r.Lost, err)
	}
}

func TestIdle(t *testing.T) {
	o := options(fakeMQTT(t, false))
	closeAll, err := Idle(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	closeAll()
}

func TestBoundedInTime(t *testing.T) {
	o := options(fakeMQTT(t, false))
	o.Messages, o.Duration = 0, 50*time.Millisecond
	r, err := MQTT(context.Background(), o)
	if err != nil || r.Acknowledged == 0 || r.Elapsed < o.Duration || r.Lost != 0 {
		t.Errorf("%d acknowledged in %v, %d lost, %v", r.Acknowledged, r.Elapsed, r.Lost, err)
	}
}

func TestRate(t *testing.T) {
	o := options(fakeMQTT(t, false))
	o.Messages, o.Duration, o.Rate = 0, 300*time.Millisecond, 1000
	r, err := MQTT(context.Background(), o)
	most := int(r.Elapsed.Seconds()*1000) + 20
	if err != nil || r.Acknowledged < 150 || r.Acknowledged > most {
		t.Errorf("%d acknowledged in %v, %v", r.Acknowledged, r.Elapsed, err)
	}
	o.Messages, o.Rate = 20, 100_000
	if r, err = MQTT(context.Background(), o); err != nil || r.Acknowledged != 20 {
		t.Errorf("%d acknowledged, want 20, %v", r.Acknowledged, err)
	}
}

func TestDevice(t *testing.T) {
	d, err := Connect(context.Background(), fakeMQTT(t, false), "T")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 3 {
		if err := d.Publish([]byte(`{"t":1}`)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLoopbackOnly(t *testing.T) {
	for _, address := range []string{"192.0.2.1:1883", "example.org:1883", ":1883", "nowhere"} {
		if _, err := MQTT(context.Background(), options(address)); err == nil {
			t.Errorf("%s is accepted", address)
		}
	}
}

func TestLatencies(t *testing.T) {
	var l, m Latencies
	if l.Percentile(50) != 0 {
		t.Error("a percentile of nothing")
	}
	l.Add(time.Millisecond, 98)
	m.Add(time.Second, 2)
	l.Merge(&m)
	for p, want := range map[float64]time.Duration{50: time.Millisecond, 98: time.Millisecond, 99: time.Second, 100: time.Second} {
		if got := l.Percentile(p); got < want || got > want+want/8+1 {
			t.Errorf("p%v is %v, want %v", p, got, want)
		}
	}
}

func BenchmarkMQTTClient(b *testing.B) {
	c := newMQTTClient(&Options{Address: "127.0.0.1:1", InFlight: 16, Token: Token, Topic: "v1/devices/me/telemetry", Payload: Reading()}, 0)
	c.conn = discard{}
	pubacks := make([]byte, 0, 64)
	for i := range 16 {
		pubacks = append(pubacks, mqttPuback, 2, 0, byte(i+1))
	}
	var unbounded budget
	b.ReportAllocs()
	for b.Loop() { // sixteen messages
		if _, err := c.fill(&unbounded); err != nil {
			b.Fatal(err)
		}
		if err := c.acknowledge(pubacks); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{ net.Conn }

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func TestTimedReadingsCountUp(t *testing.T) {
	c := newMQTTClient(&Options{Address: "127.0.0.1:1", InFlight: 2, Token: Token, Topic: "v1/devices/me/telemetry", Payload: TimedReading()}, 0)
	ours, theirs := net.Pipe()
	c.conn = ours
	failed := make(chan error, 1)
	go func() {
		_, err := c.fill(&budget{})
		failed <- errors.Join(err, ours.Close())
	}()
	sent, err := io.ReadAll(theirs)
	if err := errors.Join(err, <-failed); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"ts":1700000000000,"values":{"temperature"`, `{"ts":1700000000001,"values":{"temperature"`} {
		if !strings.Contains(string(sent), want) {
			t.Errorf("sent %q, without %s", sent, want)
		}
	}
}

// TestCoAPS: a client whose records are our own, against a server whose are a library's.
func TestCoAPS(t *testing.T) {
	certificate, err := tls.X509KeyPair(certificatetest.Make(t, 1, "localhost"))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := dtls.ListenWithOptions("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, dtls.WithCertificates(certificate))
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { answerCoAP(t, conn) })
		}
	})
	r, err := CoAPS(context.Background(), options(listener.Addr().String()))
	check(t, r, err)
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
	serving.Wait() // all clients said goodbye
}

// answerCoAP acknowledges what comes over conn until that ends.
func answerCoAP(t *testing.T, conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 1500)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			return
		}
		d := buffer[:n]
		if !bytes.HasSuffix(d, Reading()) {
			t.Errorf("% x", d)
		}
		if _, err := conn.Write(append([]byte{0x64, 2<<5 | 1, d[2], d[3]}, d[4:8]...)); err != nil {
			t.Error(err)
		}
	}
}
