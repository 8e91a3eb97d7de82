package live

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what this node watches of others.
type Metrics struct {
	watched    prometheus.Gauge
	received   prometheus.Counter
	outdated   prometheus.Counter
	unreadable prometheus.Counter
	caughtUp   prometheus.Counter
	unanswered prometheus.Counter
	refused    prometheus.Counter
	late       prometheus.Counter
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	watched := prometheus.NewGauge(prometheus.GaugeOpts{Name: "core_node_live_watched", Help: "Entities watched by this node, its own and others'."})
	r.MustRegister(watched)
	return &Metrics{
		watched:    watched,
		received:   counter("core_node_live_updates_received_total", "Saves told by other nodes."),
		outdated:   counter("core_node_live_updates_outdated_total", "Saves told late by a node that is no longer the owner; they were read from the store instead."),
		unreadable: counter("core_node_live_messages_unreadable_total", "Messages of other nodes that could not be read."),
		caughtUp:   counter("core_node_live_catch_ups_total", "Entities whose values were read because updates may have been missed."),
		unanswered: counter("core_node_live_owner_unanswered_total", "Requests to be told of saves that the owner did not answer."),
		refused:    counter("core_node_live_refused_total", "Entities whose owner had no room for another watch."),
		late:       counter("core_node_live_settled_late_total", "Subscriptions that went on before their entity's owner had answered."),
	}
}
