package gateway

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what gateways do for the devices behind them.
type Metrics struct {
	devices, closing, waiting              prometheus.Gauge
	unsent, unread, unmeasured, unreported prometheus.Counter

	parts [Unusable + 1]prometheus.Counter
}

// NewMetrics registers a service's metrics; registry may be nil.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "mqtt_transport_gateway_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "mqtt_transport_gateway_" + name, Help: help})
	}
	m := &Metrics{
		devices:    gauge("devices", "Devices behind gateways that have a session."),
		closing:    gauge("sessions_closing", "Sessions of lost gateways' devices that wait to be closed."),
		waiting:    gauge("openings_waiting", "Devices behind gateways that are to be looked for, or created, once others were."),
		unsent:     counter("notices_unsent_total", "Notices of refused devices beyond what a gateway is sent a second."),
		unread:     counter("attribute_reads_failed_total", "Attribute requests of gateways that the platform did not answer."),
		unmeasured: counter("readings_unmeasured_total", "Readings whose latency was not measured: their gateway names too many connectors."),
		unreported: counter("metrics_unreported_total", "Minutes of gateways' latencies that the bus did not take."),
	}
	parts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mqtt_transport_gateway_parts_total", Help: "What became of what gateways said of single devices.",
	}, []string{"result"})
	for r := range m.parts {
		m.parts[r] = parts.WithLabelValues(Result(r).String())
	}
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.devices, m.closing, m.waiting, m.unsent, m.unread, m.unmeasured, m.unreported, parts} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register gateway metrics: %w", err)
		}
	}
	return m, nil
}
