package coaptransport

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

// metrics counts what the parts of the service report. It is safe for concurrent use.
type metrics struct {
	log *slog.Logger

	received, sent, unsent    prometheus.Counter
	discarded                 prometheus.Counter
	duplicates, overloads     prometheus.Counter
	forgotten, unacknowledged prometheus.Counter
	panics                    prometheus.Counter
	notified, lost, unsaid    prometheus.Counter
	observers, sessions       prometheus.Gauge
	handshakes                *prometheus.CounterVec
	malformed                 *prometheus.CounterVec
	answered                  [256]prometheus.Counter
}

// malformedReasons are the values of the label reason of coap_transport_malformed_datagrams_total.
var malformedReasons = map[error]string{
	packet.ErrShort:   "short",
	packet.ErrVersion: "version",
	packet.ErrToken:   "token",
	packet.ErrOption:  "option",
	packet.ErrPayload: "payload",
	packet.ErrCode:    "code",
}

// answerCodes are all that are ever sent.
var answerCodes = []packet.Code{
	packet.Created, packet.Deleted, packet.Valid, packet.Content, packet.Continue,
	packet.BadRequest, packet.Unauthorized, packet.BadOption, packet.NotFound, packet.MethodNotAllowed,
	packet.NotAcceptable, packet.Incomplete, packet.TooLarge, packet.TooManyRequests,
	packet.InternalServerError, packet.NotImplemented, packet.ServiceUnavailable, packet.GatewayTimeout,
	packet.ProxyingNotSupported,
}

func newMetrics(registry prometheus.Registerer, log *slog.Logger) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "coap_transport_" + name, Help: help})
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	m := &metrics{
		log:            log,
		received:       counter("datagrams_received_total", "Datagrams read from the sockets."),
		sent:           counter("datagrams_sent_total", "Datagrams written to the sockets."),
		unsent:         counter("datagrams_unsent_total", "Datagrams dropped because the outbox was full or the kernel refused them."),
		discarded:      counter("dtls_discarded_total", "Records dropped because they were not the peer's, or came before."),
		duplicates:     counter("duplicates_total", "Retransmissions recognised; they are not handled again."),
		overloads:      counter("overloads_total", "Requests answered 5.03 because too many were in hand."),
		forgotten:      counter("forgotten_total", "Answered requests forgotten before their lifetime ended, to make room."),
		unacknowledged: counter("unacknowledged_total", "Separate responses and notifications given up after the last retransmission."),
		notified:       counter("notifications_total", "Notifications sent to observers."),
		lost:           counter("observers_lost_total", "Observations ended because the client rejected or did not acknowledge a message."),
		unsaid:         counter("notifications_unsaid_total", "Changes and requests left out because too much waited for the device."),
		observers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "coap_transport_observers", Help: "Observations there are.",
		}),
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "coap_transport_dtls_sessions", Help: "DTLS connections there are.",
		}),
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "coap_transport_dtls_handshakes_total", Help: "DTLS handshakes by how they ended.",
		}, []string{"result"}),
		panics: counter("panics_total", "Datagrams whose handling panicked."),
		malformed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "coap_transport_malformed_datagrams_total", Help: "Datagrams that are no CoAP message, by what is wrong.",
		}, []string{"reason"}),
	}
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "coap_transport_answers_total", Help: "Requests answered, by response code; retransmissions not counted.",
	}, []string{"code"})
	for _, code := range answerCodes {
		m.answered[code] = answers.WithLabelValues(code.String())
	}
	for _, reason := range malformedReasons {
		m.malformed.WithLabelValues(reason)
	}
	for _, result := range []string{"done", "failed", "refused", "overtaken"} {
		m.handshakes.WithLabelValues(result)
	}
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.received, m.sent, m.unsent, m.discarded, m.duplicates, m.overloads, m.forgotten, m.unacknowledged, m.panics, m.malformed, answers,
		m.notified, m.lost, m.unsaid, m.observers, m.sessions, m.handshakes,
	} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) Received(n int)  { m.received.Add(float64(n)) }
func (m *metrics) Sent(n int)      { m.sent.Add(float64(n)) }
func (m *metrics) Unsent()         { m.unsent.Inc() }
func (m *metrics) Duplicate()      { m.duplicates.Inc() }
func (m *metrics) Overload()       { m.overloads.Inc(); m.Answered(packet.ServiceUnavailable) }
func (m *metrics) Forgotten()      { m.forgotten.Inc() }
func (m *metrics) Unacknowledged() { m.unacknowledged.Inc() }
func (m *metrics) Notified()       { m.notified.Inc() }
func (m *metrics) ObserverLost()   { m.lost.Inc() }
func (m *metrics) Unsaid()         { m.unsaid.Inc() }

func (m *metrics) Sessions(by int)         { m.sessions.Add(float64(by)) }
func (m *metrics) Discarded()              { m.discarded.Inc() }
func (m *metrics) Handshake(result string) { m.handshakes.WithLabelValues(result).Inc() }

func (m *metrics) Observers(by int) { m.observers.Add(float64(by)) }

func (m *metrics) Answered(code packet.Code) {
	if c := m.answered[code]; c != nil {
		c.Inc()
	}
}

func (m *metrics) Panicked(what any) {
	m.panics.Inc()
	m.log.Error("datagram handling panicked", "panic", what)
}

func (m *metrics) malformedDatagram(err error) {
	m.malformed.WithLabelValues(malformedReasons[err]).Inc()
}
