package httptransport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

const reading = `{"ts":1634712287000,"values":{"temperature":21.57,"humidity":48.2,"status":"operational","uptimeSeconds":8734523}}`

// connections is how many the benchmarks keep open, each a device of its own.
const connections = 64

func tokenOf(i int) string { return fmt.Sprint("T", i) }

func addDevices(c *transporttest.Core) {
	for i := range connections {
		c.AddDevice(tokenOf(i))
	}
}

// nowhere is an http.ResponseWriter that costs nothing.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}

type body struct{ bytes.Reader }

func (*body) Close() error { return nil }

// BenchmarkHandler is one POST without sockets: what the service adds to net/http.
func BenchmarkHandler(b *testing.B) {
	r := transporttest.Start(b, nil)
	r.Core.AddDevice("T")
	c := defaults(b)
	c.Listen = ""
	s, err := New(c, r.Transport, process.Env{Metrics: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	request := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/api/v1/T/telemetry", nil)
	request.ContentLength = int64(len(reading))
	content, writer, handler := &body{}, &nowhere{http.Header{}}, s.Handler()
	request.Body = content
	b.ReportAllocs()
	for b.Loop() {
		content.Reset([]byte(reading))
		handler.ServeHTTP(writer, request)
	}
}

// BenchmarkSockets compares the service with a handler that only reads the body, both over
// keep-alive connections of one cheap client; the bus answers at once.
func BenchmarkSockets(b *testing.B) {
	d := openDoor(b, nil, nil)
	addDevices(d.Core)
	bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer bare.Close()
	address := strings.TrimSuffix(strings.TrimPrefix(d.base, "http://"), "/api/v1/")
	b.Run("service", func(b *testing.B) { posts(b, address) })
	b.Run("bare", func(b *testing.B) { posts(b, bare.Listener.Addr().String()) })
}

func posts(b *testing.B, address string) {
	var connection atomic.Int64
	b.SetParallelism(connections / runtime.GOMAXPROCS(0))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		token := tokenOf(int(connection.Add(1)) % connections)
		request := fmt.Appendf(nil, "POST /api/v1/%s/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", token, len(reading), reading)
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		buffer := make([]byte, 4096)
		for pb.Next() {
			if _, err := conn.Write(request); err != nil {
				b.Error(err)
				return
			}
			n, err := conn.Read(buffer)
			if err != nil || !bytes.HasPrefix(buffer[:n], []byte("HTTP/1.1 200")) {
				b.Errorf("%s (%v)", buffer[:n], err)
				return
			}
		}
	})
}
