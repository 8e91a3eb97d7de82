package deviceapi

import (
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// route names a kind of request.
type route int

const (
	routeTelemetry route = iota
	routeAttributes
	routeRead
	routeUpdates
	routePoll
	routeCall
	routeReply
	routeClaim
	routeProvision
	routePackage
	routeOther
	routes
)

func (r route) String() string {
	return [...]string{"post_telemetry", "post_attributes", "get_attributes", "get_updates", "get_rpc", "post_rpc", "post_rpc_reply", "claim", "provision", "get_package", "other"}[r]
}

// metrics looks up once what every request needs.
type metrics struct {
	requests *prometheus.CounterVec
	ok       [routes]prometheus.Counter
	seconds  [routes]prometheus.Observer
	parked   prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "http_transport_requests_total", Help: "Requests of devices, by what they were for and how they were answered.",
	}, []string{"route", "code"})}
	m.parked = prometheus.NewGauge(prometheus.GaugeOpts{Name: "http_transport_parked_polls", Help: "Requests that wait for a downlink."})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_transport_request_seconds", Help: "Time from a request's headers to its answer.",
		Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .5, 1, 5, 10},
	}, []string{"route"})
	for r := range routes {
		m.ok[r] = m.requests.WithLabelValues(r.String(), "200")
		m.seconds[r] = seconds.WithLabelValues(r.String())
	}
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, seconds, m.parked} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) refused(at route, code int) {
	m.requests.WithLabelValues(at.String(), strconv.Itoa(code)).Inc()
}
