package certificate

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics tell how the certificates are.
type Metrics struct {
	reloads        prometheus.Counter
	broken, expiry prometheus.Gauge
}

// NewMetrics registers a store's metrics, whose names begin with service's; registry may be nil.
func NewMetrics(registry prometheus.Registerer, service string) (*Metrics, error) {
	m := &Metrics{
		reloads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: service + "_certificate_reloads_total", Help: "How often changed certificates were read again.",
		}),
		broken: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: service + "_certificates_broken", Help: "1 while a certificate's file cannot be read and what was read before is served.",
		}),
		expiry: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: service + "_certificate_expiry_seconds", Help: "When the first of the certificates served expires, in seconds since the epoch.",
		}),
	}
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.reloads, m.broken, m.expiry} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register certificate metrics: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) setBroken(broken bool) {
	value := 0.0
	if broken {
		value = 1
	}
	m.broken.Set(value)
}
