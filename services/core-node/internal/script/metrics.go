package script

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts calls.
type metrics struct {
	calls                           *prometheus.CounterVec
	seconds                         prometheus.Histogram
	pending                         prometheus.Gauge
	blocked, again, late, malformed prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) *metrics {
	if registry == nil {
		registry = prometheus.NewRegistry()
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "script_" + name, Help: help})
		registry.MustRegister(c)
		return c
	}
	m := &metrics{
		calls:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "script_calls_total", Help: "Calls of scripts, by outcome."}, []string{"outcome"}),
		seconds:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "script_call_seconds", Help: "How long calls took, waiting included.", Buckets: []float64{.0003, .001, .003, .01, .03, .1, .3, 1, 3, 10}}),
		pending:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "script_pending_calls", Help: "Calls under way."}),
		blocked:   counter("blocked_total", "Times a script was blocked."),
		again:     counter("calls_again_total", "Calls asked of another executor, as no answer came."),
		late:      counter("late_answers_total", "Answers nobody waited for: the second of two, or after the budget."),
		malformed: counter("malformed_answers_total", "Records on the reply topic that are none of answers."),
	}
	registry.MustRegister(m.calls, m.seconds, m.pending)
	for _, label := range append(kinds[:], "ok", "platform", "cancelled") {
		m.calls.WithLabelValues(label)
	}
	return m
}

func (m *metrics) ended(err error, took time.Duration) {
	var own *Error
	label := "platform"
	switch {
	case err == nil:
		label = "ok"
	case errors.As(err, &own):
		label = own.Kind.String()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		label = "cancelled"
	}
	m.calls.WithLabelValues(label).Inc()
	m.seconds.Observe(took.Seconds())
}
