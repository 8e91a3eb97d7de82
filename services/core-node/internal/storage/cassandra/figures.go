package cassandra

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are what the store counts of its requests.
type figures struct {
	latency  *prometheus.HistogramVec // by kind; its count is the requests
	errors   *prometheus.CounterVec   // by kind and error
	retries  prometheus.Counter
	inFlight prometheus.GaugeFunc
}

func newFigures(inFlight func() float64) *figures {
	return &figures{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "core_node_cassandra_request_seconds", Help: "How long requests to Cassandra took, by kind.",
			Buckets: []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 3},
		}, []string{"kind"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "core_node_cassandra_errors_total", Help: "Requests to Cassandra that failed, by kind and error.",
		}, []string{"kind", "error"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "core_node_cassandra_retries_total", Help: "Refusals of a node after which the request was offered to another.",
		}),
		inFlight: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "core_node_cassandra_in_flight", Help: "Requests to Cassandra under way.",
		}, inFlight),
	}
}

func (f *figures) all() []prometheus.Collector {
	return []prometheus.Collector{f.latency, f.errors, f.retries, f.inFlight}
}

func (f *figures) register(with prometheus.Registerer) error {
	for _, c := range f.all() {
		if err := with.Register(c); err != nil {
			return fmt.Errorf("register the store's figures: %w", err)
		}
	}
	return nil
}

func (f *figures) unregister(with prometheus.Registerer) {
	for _, c := range f.all() {
		with.Unregister(c)
	}
}
