package httpapi

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
	panics   prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "core_rest_requests_total", Help: "REST requests by route and status.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "core_rest_request_seconds", Help: "How long REST requests took.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8),
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "core_rest_panics_total", Help: "REST requests ended by a mistake in the program.",
		}),
	}
	registry.MustRegister(m.requests, m.seconds, m.panics)
	return m
}

func (m *metrics) count(route string, status int) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
}

func (m *metrics) took(start time.Time) { m.seconds.Observe(time.Since(start).Seconds()) }
