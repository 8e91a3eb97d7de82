package redis

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what operators see of Redis.
type Metrics struct {
	up       prometheus.Gauge
	failures prometheus.Counter
	latency  prometheus.Histogram
}

// NewMetrics registers the metrics with r, which may be nil.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		up:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "transport_redis_up", Help: "1 while Redis answers; while it does not, it is left alone."}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "transport_redis_failures_total", Help: "How often Redis stopped answering."}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "transport_redis_lookup_seconds", Help: "How long look-ups of credentials in Redis took.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25},
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.up, m.failures, m.latency} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}
