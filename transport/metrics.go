package transport

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/transport/payload"
)

// uplinkCounters are the outcomes of one protocol's uplinks, looked up once.
type uplinkCounters struct {
	acknowledged, empty, invalid, limited, tooLarge, full, unavailable prometheus.Counter
}

type metrics struct {
	uplinks     map[string]*uplinkCounters // by Origin.Transport
	otherUplink *uplinkCounters
	droppedKeys [3]prometheus.Counter // by payload.Reason

	credentialHits, credentialMisses prometheus.Counter
	credentialsRejected, strangers   prometheus.Counter
	calls                            *prometheus.CounterVec // by call and result
	sessions                         prometheus.Gauge
	sessionsOpened                   prometheus.Counter
	sessionsClosed                   *prometheus.CounterVec // by reason
	sessionReports                   *prometheus.CounterVec // by kind and result
	requests                         *prometheus.CounterVec // by kind and result
	downlinks                        *prometheus.CounterVec // by kind and result
	events                           prometheus.Counter
	redisLookups                     *prometheus.CounterVec // by result
	redisRates                       *prometheus.CounterVec // by result
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	uplinks := vector("transport_uplinks_total", "Uplinks by protocol and what became of them.", "transport", "result")
	dropped := vector("transport_dropped_keys_total", "Keys left out of uplinks because they cannot be stored.", "reason")
	m := &metrics{
		credentialHits:      counter("transport_credentials_hits_total", "Credentials answered from memory."),
		credentialMisses:    counter("transport_credentials_misses_total", "Credentials that had to be asked for."),
		credentialsRejected: counter("transport_credentials_rejected_total", "Wrong credentials."),
		strangers:           counter("transport_credentials_refused_total", "Credentials not looked at, as their address sent too many wrong ones."),
		calls:               vector("transport_calls_total", "Calls to core nodes.", "call", "result"),
		sessions:            prometheus.NewGauge(prometheus.GaugeOpts{Name: "transport_sessions", Help: "Open device sessions."}),
		sessionsOpened:      counter("transport_sessions_opened_total", "Device sessions opened."),
		sessionsClosed:      vector("transport_sessions_closed_total", "Device sessions closed, by who wanted it.", "reason"),
		sessionReports:      vector("transport_session_reports_total", "Messages to device owners about sessions.", "kind", "result"),
		requests:            vector("transport_requests_total", "Messages of devices that are no readings, by kind (rpc_reply, rpc_call, claim) and what became of them.", "kind", "result"),
		downlinks:           vector("transport_downlinks_total", "Messages from device owners.", "kind", "result"),
		events:              counter("transport_events_total", "Entity changes heard of."),
		redisLookups:        vector("transport_redis_lookups_total", "Look-ups of credentials in Redis: hit, miss, stale (out of date), error, away (left alone), unready (entity changes not yet followed).", "result"),
		redisRates:          vector("transport_redis_rates_total", "Rates told to Redis, of which the other transports then know (ok), or not (error).", "result"),
	}
	m.uplinks = map[string]*uplinkCounters{}
	for _, transport := range []string{"MQTT", "HTTP", "COAP"} {
		m.uplinks[transport] = newUplinkCounters(uplinks, transport)
	}
	m.otherUplink = newUplinkCounters(uplinks, "other")
	for i, reason := range payload.Reasons() {
		m.droppedKeys[i] = dropped.WithLabelValues(reason.String())
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		uplinks, dropped, m.credentialHits, m.credentialMisses, m.credentialsRejected, m.strangers, m.calls,
		m.sessions, m.sessionsOpened, m.sessionsClosed, m.sessionReports, m.requests, m.downlinks, m.events, m.redisLookups, m.redisRates,
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func newUplinkCounters(uplinks *prometheus.CounterVec, transport string) *uplinkCounters {
	of := func(result string) prometheus.Counter { return uplinks.WithLabelValues(transport, result) }
	return &uplinkCounters{
		acknowledged: of("acknowledged"), empty: of("empty"), invalid: of("invalid"), limited: of("limited"),
		tooLarge: of("too_large"), full: of("full"), unavailable: of("unavailable"),
	}
}

func (m *metrics) uplinksOf(transport string) *uplinkCounters {
	if c := m.uplinks[transport]; c != nil {
		return c
	}
	return m.otherUplink
}

func (m *metrics) dropped(keys payload.Dropped) {
	for reason, n := range keys {
		if n > 0 {
			m.droppedKeys[reason].Add(float64(n))
		}
	}
}

// result is the label of how something went.
func result(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}
