package standalone

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	httptransport "github.com/sluice-iot/sluice/services/http-transport"
)

func TestRoutes(t *testing.T) {
	named := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, name+" "+r.URL.Path) })
	}
	handler := routes(named("devices"), named("mqtt"), named("people"))
	for path, want := range map[string]string{
		"/api/v1/TOKEN/telemetry": "devices",
		"/api/v1/TOKEN//../t":     "devices",
		"/mqtt":                   "mqtt",
		"/mqtt/other":             "people",
		"/api/auth/login":         "people",
		"/api/ws":                 "people",
		"/api/v1":                 "people",
		"/":                       "people",
	} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		if got := answer.Body.String(); got != want+" "+path {
			t.Errorf("%s went to %s", path, got)
		}
	}
}

func TestDoorBoundsConnections(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	config := httptransport.Config{Connections: 2, DrainTimeout: time.Second}
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	d, err := openDoor("127.0.0.1:0", config, handler, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()

	first, second, third := dialHTTP(t, d.Addr()), dialHTTP(t, d.Addr()), dialHTTP(t, d.Addr())
	for _, conn := range []net.Conn{first, second} {
		if answer := get(t, conn, time.Now().Add(10*time.Second)); !strings.Contains(answer, "200") {
			t.Errorf("within the bound: %q", answer)
		}
	}
	if answer := get(t, third, time.Now().Add(50*time.Millisecond)); answer != "" {
		t.Errorf("beyond the bound: %q", answer)
	}
	first.Close()
	if answer := read(t, third, time.Now().Add(10*time.Second)); !strings.Contains(answer, "200") {
		t.Errorf("when a place is free again: %q", answer)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func dialHTTP(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// get asks and returns the answer's first line, or "" when none came by the deadline.
func get(t *testing.T, conn net.Conn, deadline time.Time) string {
	t.Helper()
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return read(t, conn, deadline)
}

func read(t *testing.T, conn net.Conn, deadline time.Time) string {
	t.Helper()
	if err := conn.SetReadDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(conn).ReadString('\n') // none: the deadline passed
	return line
}
