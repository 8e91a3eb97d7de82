package deviceapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/transport"
)

// stranger is a platform that knows nobody.
type stranger struct{ Platform }

var errStranger = fault.New(fault.Unauthenticated, "unknown")

func (stranger) Authenticate(context.Context, transport.Credentials) (*transport.Device, error) {
	return nil, errStranger
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

func strangerAPI(t testing.TB) *API {
	t.Helper()
	a, err := New(stranger{}, Limits{BodyBytes: 1000, Patience: time.Second, RetryAfter: time.Second}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The short way and the router agree on every path.
func TestShortWayAgreesWithTheRouter(t *testing.T) {
	a := strangerAPI(t)
	for _, path := range []string{
		"/api/v1/T/telemetry", "/api/v1/T/attributes", "/api/v1/T/rpc", "/api/v1//telemetry", "/api/v1/telemetry",
		"/api/v1/T/telemetry/", "/api/v1/T/U/telemetry", "/api/v2/T/telemetry", "/T/telemetry", "/", "/api/v1/T",
		"/api/v1/%54/telemetry", "/api/v1/a%20b/attributes",
	} {
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodPut} {
			short, routed := httptest.NewRecorder(), httptest.NewRecorder()
			a.ServeHTTP(short, httptest.NewRequest(method, path, nil))
			a.router.ServeHTTP(routed, httptest.NewRequest(method, path, nil))
			if short.Code != routed.Code {
				t.Errorf("%s %s: %d by the short way, %d by the router", method, path, short.Code, routed.Code)
			}
		}
	}
}

// BenchmarkRouting is why uploads skip the router.
func BenchmarkRouting(b *testing.B) {
	a := strangerAPI(b)
	request := httptest.NewRequest(http.MethodPost, "/api/v1/A1_TEST_TOKEN/telemetry", nil)
	for name, handler := range map[string]http.Handler{"short": a, "router": a.router} {
		b.Run(name, func(b *testing.B) {
			w := &discard{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				handler.ServeHTTP(w, request)
			}
		})
	}
}
