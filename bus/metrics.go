package bus

import (
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/bus/topics"
)

// metrics counts what the bus does. Reply topics share one label value, as their names are
// as many as there are processes.
type metrics struct {
	messages *prometheus.CounterVec
	full     *prometheus.CounterVec
	late     *prometheus.CounterVec
	retries  *prometheus.CounterVec
	requests *prometheus.HistogramVec
	sent     *prometheus.CounterVec

	calls       *prometheus.CounterVec
	lateAnswers prometheus.Counter
	expired     prometheus.Counter
	unclaimed   prometheus.Counter

	read       *prometheus.CounterVec
	outOfRange *prometheus.CounterVec
	failures   *prometheus.CounterVec
	lag        *prometheus.GaugeVec
	used       *prometheus.GaugeVec
	renewed    prometheus.Counter
	swept      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
	}
	counter := func(name, help string) prometheus.Counter {
		return register(r, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
	}
	return &metrics{
		messages: counters("bus_published_messages_total", "Messages answered to their publisher, by outcome.", "topic", "outcome"),
		full:     counters("bus_publish_full_total", "Messages refused because the partition's queue was full.", "topic"),
		late:     counters("bus_late_acknowledgements_total", "Messages acknowledged after their publisher was told that the deadline passed.", "topic"),
		retries:  counters("bus_publish_retries_total", "Batches tried again.", "topic"),
		requests: register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bus_publish_request_seconds", Help: "Time from sending a batch to its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 3, 10},
		}, []string{"topic"})),
		sent: counters("bus_published_bytes_total", "Bytes of batches put on the wire.", "topic"),

		calls:       counters("bus_calls_total", "Calls by outcome.", "outcome"),
		lateAnswers: counter("bus_late_answers_total", "Answers that came after their call's budget and were dropped."),
		expired:     counter("bus_expired_calls_total", "Calls found with their budget passed: not run, not answered."),
		unclaimed:   counter("bus_unclaimed_messages_total", "Messages addressed to this process that nobody here took."),

		read:       counters("bus_read_messages_total", "Messages read.", "topic"),
		outOfRange: counters("bus_offsets_out_of_range_total", "Reads that went back to the earliest message because their offset was gone.", "topic"),
		failures:   counters("bus_read_failures_total", "Reads that failed and were tried again.", "topic"),
		lag:        register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "bus_lag_messages", Help: "Messages in an owned partition that have not been read."}, []string{"topic", "partition"})),
		used:       register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "bus_retention_used_ratio", Help: "Share of the topic's retention that has passed since the oldest message of an owned partition that is not done with was published; at 1 messages are lost."}, []string{"topic", "partition"})),
		renewed:    counter("bus_commits_renewed_total", "Offsets committed again so that brokers do not forget them."),
		swept:      counter("bus_reply_topics_swept_total", "Reply topics deleted because nobody read them."),
	}
}

// register returns the collector that is registered under c's name: several clients of one process share it.
func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	err := r.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if same, ok := already.ExistingCollector.(C); ok {
			return same
		}
	}
	return c
}

// topicLabel is the label value of a topic.
func topicLabel(name string) string {
	for _, prefix := range []string{topics.TransportResponses, topics.CoreResponses} {
		if strings.HasPrefix(name, prefix) {
			return strings.TrimSuffix(prefix, ".")
		}
	}
	return name
}

// publishCounters are a topic's, looked up once.
type publishCounters struct {
	ok, deadline, unavailable, tooLarge, closed prometheus.Counter
	full, late, retries, sent                   prometheus.Counter
	seconds                                     prometheus.Observer
}

func (m *metrics) published(name string) *publishCounters {
	t := topicLabel(name)
	return &publishCounters{
		ok:          m.messages.WithLabelValues(t, "acknowledged"),
		deadline:    m.messages.WithLabelValues(t, "deadline"),
		unavailable: m.messages.WithLabelValues(t, "unavailable"),
		tooLarge:    m.messages.WithLabelValues(t, "too_large"),
		closed:      m.messages.WithLabelValues(t, "closed"),
		full:        m.full.WithLabelValues(t),
		late:        m.late.WithLabelValues(t),
		retries:     m.retries.WithLabelValues(t),
		sent:        m.sent.WithLabelValues(t),
		seconds:     m.requests.WithLabelValues(t),
	}
}

// count books messages under what they were answered with.
func (p *publishCounters) count(err error, messages int) {
	if messages == 0 {
		return
	}
	outcome := p.unavailable
	switch {
	case err == nil:
		outcome = p.ok
	case errors.Is(err, ErrDeadline):
		outcome = p.deadline
	case errors.Is(err, ErrTooLarge):
		outcome = p.tooLarge
	case errors.Is(err, ErrClosed):
		outcome = p.closed
	}
	outcome.Add(float64(messages))
}

func (p *publishCounters) request(took time.Duration, bytes int) {
	p.seconds.Observe(took.Seconds())
	p.sent.Add(float64(bytes))
}
