package listener

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what listeners do.
type Metrics struct {
	connections                 prometheus.Gauge
	read, written               prometheus.Counter
	refused, unaccepted, panics prometheus.Counter
	handshakes, headers         *prometheus.CounterVec
}

// NewMetrics registers a service's metrics; registry may be nil.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "mqtt_transport_" + name, Help: help})
	}
	m := &Metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mqtt_transport_connections", Help: "Connections open, accepted or not yet.",
		}),
		read:       counter("read_bytes_total", "Bytes read from clients."),
		written:    counter("written_bytes_total", "Bytes written to clients."),
		refused:    counter("connections_refused_total", "Connections turned away, told so or not, because there are as many as allowed."),
		unaccepted: counter("accept_errors_total", "Connections that could not be accepted."),
		panics:     counter("panics_total", "Connections whose handling panicked."),
	}
	m.handshakes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mqtt_transport_tls_handshakes_total", Help: "TLS handshakes, by how they ended.",
	}, []string{"result"})
	m.headers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mqtt_transport_proxy_headers_total", Help: "PROXY headers of trusted peers, by what became of them.",
	}, []string{"result"})
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.connections, m.read, m.written, m.refused, m.unaccepted, m.panics, m.handshakes, m.headers} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register listener metrics: %w", err)
		}
	}
	return m, nil
}
