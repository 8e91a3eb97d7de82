package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

// health is one that stays as it is.
type health struct{ ready, degraded map[string]error }

func (h health) Ready() map[string]error    { return h.ready }
func (h health) Degraded() map[string]error { return h.degraded }

// start runs a listener of c that is ready and has one operators' handler, /letters.
func start(t *testing.T, c Config) *Listener {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "test_answer"}, func() float64 { return 42 }))
	l, err := New(c, slog.New(slog.DiscardHandler), registry, health{})
	if err != nil {
		t.Fatal(err)
	}
	l.Handle("/letters", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "letters") }))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t)
	})
	return l
}

func ask(t *testing.T, client *http.Client, method, url string, header http.Header) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	request.Host = header.Get("Host")
	request.Close = true
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestProbesAndMetrics(t *testing.T) {
	l := start(t, Config{Listen: "127.0.0.1:0"})
	for path, want := range map[string]string{"/live": "", "/ready": `"ready":true`, "/metrics": "test_answer 42"} {
		status, body := ask(t, http.DefaultClient, http.MethodGet, "http://"+l.Addr()+path, nil)
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestGuard(t *testing.T) {
	for _, c := range []struct {
		name, token, method string
		header              http.Header
		want                int
	}{
		{name: "by address", want: 200},
		{name: "by localhost", header: http.Header{"Host": {"localhost:9090"}}, want: 200},
		{name: "by a name that resolves to it", header: http.Header{"Host": {"evil.example:9090"}}, want: 403},
		{name: "from another site's page", method: "POST", header: http.Header{"Sec-Fetch-Site": {"cross-site"}}, want: 403},
		{name: "with the token", token: "secret", header: http.Header{"Authorization": {"Bearer secret"}}, want: 200},
		{name: "with the token, by a name", token: "secret", header: http.Header{"Authorization": {"Bearer secret"}, "Host": {"node7:9090"}}, want: 200},
		{name: "without the token", token: "secret", want: 401},
		{name: "with a wrong one", token: "secret", header: http.Header{"Authorization": {"Bearer wrong"}}, want: 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := start(t, Config{Listen: "127.0.0.1:0", Token: c.token})
			if status, body := ask(t, http.DefaultClient, c.method, "http://"+l.Addr()+"/letters", c.header); status != c.want {
				t.Errorf("%d %s, want %d", status, body, c.want)
			}
		})
	}
}

func TestUnixSocketNeedsNoToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	if err := os.WriteFile(path, []byte("left behind"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := start(t, Config{Socket: path, Token: "secret"})
	if l.Addr() != "" {
		t.Errorf("it has a TCP address: %s", l.Addr())
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	if status, body := ask(t, client, http.MethodGet, "http://node/letters", nil); status != http.StatusOK || body != "letters" {
		t.Errorf("%d %s", status, body)
	}
	if _, err := New(Config{Socket: path}, nil, nil, nil); err == nil || !strings.Contains(err.Error(), "running process") {
		t.Errorf("a second process took the socket: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may open the socket: %v %v", info.Mode(), err)
	}
}

func TestReadyGivesReasons(t *testing.T) {
	full, away := map[string]error{"store": errors.New("disk is full")}, map[string]error{"bus": errors.New("away")}
	for _, c := range []struct {
		health health
		code   int
		want   string
	}{
		{health{ready: full, degraded: away}, http.StatusServiceUnavailable, `{"ready":false,"reasons":{"store":"disk is full"},"degraded":{"bus":"away"}}`},
		{health{degraded: away}, http.StatusOK, `{"ready":true,"degraded":{"bus":"away"}}`},
	} {
		l, err := New(Config{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), c.health)
		if err != nil {
			t.Fatal(err)
		}
		request, answer := requestTo("/ready")
		l.handler(true).ServeHTTP(answer, request)
		if answer.Code != c.code || strings.TrimSpace(answer.Body.String()) != c.want {
			t.Errorf("%+v answers %d %s", c.health, answer.Code, answer.Body)
		}
	}
}

func TestOtherThanLoopbackNeedsAToken(t *testing.T) {
	if _, err := New(Config{Listen: "0.0.0.0:0"}, nil, nil, nil); err == nil || !strings.Contains(err.Error(), "admin-token") {
		t.Errorf("got %v", err)
	}
}

func requestTo(path string) (*http.Request, *httptest.ResponseRecorder) {
	return httptest.NewRequest(http.MethodGet, path, nil), httptest.NewRecorder()
}
