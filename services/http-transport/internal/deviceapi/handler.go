// Package deviceapi is the device API over HTTP: paths, bodies and status codes. It knows devices
// by the token in the path and asks the platform for everything else.
package deviceapi

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/transport"
)

// Platform is what the API needs.
type Platform interface {
	transport.Authenticator
	transport.Uplinks
	transport.AttributeReader
	Requests
}

// Requests is what devices ask besides sending and reading values.
type Requests interface {
	transport.RPCs
	transport.Polls
	transport.Claims
	transport.Provisioner
	transport.Packages
}

// Limits are the API's bounds.
type Limits struct {
	Proxies    Proxies
	BodyBytes  int
	RPCBytes   int           // of requests, replies, claims and requests for credentials
	Polls      int           // that wait at a time
	PartTime   time.Duration // for a part of a package to be sent
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
	parked   atomic.Int64
	stopping context.Context // ends when the service stops: nobody is to wait any more
	stop     context.CancelFunc
}

// Stop ends all waits for downlinks; those who wait are told to come again.
func (a *API) Stop() { a.stop() }

// New returns the API. registry may be nil.
func New(platform Platform, limits Limits, registry prometheus.Registerer, log *slog.Logger) (*API, error) {
	m, err := newMetrics(registry)
	if err != nil {
		return nil, err
	}
	a := &API{platform: platform, limits: limits, metrics: m, log: log}
	a.stopping, a.stop = context.WithCancel(context.Background())
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
	r.Get(prefix+"{token}/attributes/updates", a.serve(routeUpdates, (*request).pollAttributes))
	r.Get(prefix+"{token}/rpc", a.serve(routePoll, (*request).pollRPC))
	r.Post(prefix+"{token}/rpc", a.serve(routeCall, (*request).call))
	r.Post(prefix+"{token}/rpc/{request}", a.serve(routeReply, (*request).reply))
	r.Post(prefix+"{token}/claim", a.serve(routeClaim, (*request).claim))
	r.Post(prefix+"provision", a.serve(routeProvision, (*request).provision))
	for name, kind := range map[string]sluicepb.PackageType{"firmware": sluicepb.PackageType_FIRMWARE, "software": sluicepb.PackageType_SOFTWARE} {
		r.Get(prefix+"{token}/"+name, a.serve(routePackage, func(q *request, token string) error { return q.download(kind)(token) }))
	}
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
