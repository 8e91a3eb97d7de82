// Package deviceapi is the device API over HTTP: paths, bodies and status codes. It knows devices
// by the token in the path and asks the platform for everything else.
package deviceapi

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/transport"
)

// Platform is what the API needs.
type Platform interface {
	transport.Authenticator
	transport.Uplinks
	transport.AttributeReader
}

// Limits are the API's bounds.
type Limits struct {
	BodyBytes  int
	Patience   time.Duration // how long a request waits for room on the bus
	RetryAfter time.Duration
}

// API answers requests below /api/v1/.
type API struct {
	platform Platform
	limits   Limits
	metrics  *metrics
	log      *slog.Logger
	router   http.Handler
	bodies   sync.Pool // *[]byte
	waiters  sync.Pool // *waiter
}

// New returns the API. registry may be nil.
func New(platform Platform, limits Limits, registry prometheus.Registerer, log *slog.Logger) (*API, error) {
	m, err := newMetrics(registry)
	if err != nil {
		return nil, err
	}
	a := &API{platform: platform, limits: limits, metrics: m, log: log}
	a.bodies.New = func() any { return new([]byte) }
	a.waiters.New = func() any { return newWaiter() }
	a.router = a.routes()
	return a, nil
}

func (a *API) routes() http.Handler {
	r := chi.NewRouter()
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) {
		a.refuse(w, routeOther, http.StatusNotFound, "no such resource")
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, _ *http.Request) {
		a.refuse(w, routeOther, http.StatusMethodNotAllowed, "method not allowed")
	})
	r.Post(prefix+"{token}/telemetry", func(w http.ResponseWriter, r *http.Request) {
		a.upload(w, r, chi.URLParam(r, "token"), routeTelemetry)
	})
	r.Post(prefix+"{token}/attributes", func(w http.ResponseWriter, r *http.Request) {
		a.upload(w, r, chi.URLParam(r, "token"), routeAttributes)
	})
	r.Get(prefix+"{token}/attributes", func(w http.ResponseWriter, r *http.Request) {
		a.readAttributes(w, r, chi.URLParam(r, "token"))
	})
	return r
}

const prefix = "/api/v1/"

// ServeHTTP implements http.Handler. The two uploads, nearly all of the traffic, skip the router:
// it costs them a copy of the request each (BenchmarkRouting).
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		if token, resource, found := strings.Cut(strings.TrimPrefix(r.URL.Path, prefix), "/"); found && token != "" {
			switch resource {
			case "telemetry":
				a.upload(w, r, token, routeTelemetry)
				return
			case "attributes":
				a.upload(w, r, token, routeAttributes)
				return
			}
		}
	}
	a.router.ServeHTTP(w, r)
}
