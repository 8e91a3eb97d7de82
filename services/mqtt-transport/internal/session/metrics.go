package session

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/gateway"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
)

// Metrics count what sessions do. Received messages = the sum of their fates + those in flight.
type Metrics struct {
	received, sent, oversize, crowdedOut, expired, unencodable, unread prometheus.Counter

	gateways *gateway.Metrics
	fates    [fates]prometheus.Counter
	ended    [causes]prometheus.Counter
	connects map[packet.Reason]prometheus.Counter
}

// connectResults names what a CONNECT is answered with.
var connectResults = map[packet.Reason]string{
	packet.Success:                  "accepted",
	packet.ClientIdentifierNotValid: "unknown",
	packet.BadUserNameOrPassword:    "unknown",
	packet.NotAuthorized:            "unknown",
	packet.BadAuthenticationMethod:  "unsupported",
	packet.ServerUnavailable:        "unavailable",
	packet.ConnectionRateExceeded:   "limited",
	packet.ServerBusy:               "crowded",
}

// NewMetrics registers a service's metrics; registry may be nil.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "mqtt_transport_" + name, Help: help})
	}
	m := &Metrics{
		received:    counter("messages_received_total", "PUBLISH packets taken on. Each has one fate, or is in flight."),
		sent:        counter("messages_sent_total", "PUBLISH packets sent to devices."),
		oversize:    counter("messages_unsent_total", "Messages to devices that were larger than the device takes."),
		crowdedOut:  counter("requests_given_back_total", "Requests to devices that were given back, as too much waited for the device already."),
		unencodable: counter("messages_unencodable_total", "Messages to devices that could not be written as their profile asks for."),
		expired:     counter("requests_expired_total", "Requests to devices that were not sent, as their time was over when it was their turn."),
		unread:      counter("attribute_reads_failed_total", "Attribute requests that the platform did not answer."),
		connects:    map[packet.Reason]prometheus.Counter{},
	}
	var err error
	if m.gateways, err = gateway.NewMetrics(registry); err != nil {
		return nil, err
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mqtt_transport_" + name, Help: help}, []string{label})
	}
	fateOf := vector("messages_total", "What became of the PUBLISH packets taken on.", "fate")
	for f := range fates {
		m.fates[f] = fateOf.WithLabelValues(f.String())
	}
	causeOf := vector("connections_ended_total", "Connections that ended, by why.", "cause")
	for c := range causes {
		m.ended[c] = causeOf.WithLabelValues(c.String())
	}
	connectOf := vector("connects_total", "CONNECT packets answered.", "result")
	for reason, result := range connectResults {
		m.connects[reason] = connectOf.WithLabelValues(result)
	}
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.received, m.sent, m.oversize, m.crowdedOut, m.expired, m.unencodable, m.unread, fateOf, causeOf, connectOf} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register session metrics: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) connect(r packet.Reason) { m.connects[r].Inc() }
