package ingest

import "github.com/prometheus/client_golang/prometheus"

// Fates of a message. Every message taken on has exactly one in the end.
const (
	fateProcessed    = "processed"
	fateDeadLettered = "dead_lettered"
	fateRefused      = "refused"
	fateGivenBack    = "given_back"
)

// Metrics counts what becomes of messages: taken = processed + dead-lettered + refused + given
// back + in hand.
type Metrics struct {
	taken         prometheus.Counter
	processed     prometheus.Counter
	dead          prometheus.Counter
	refused       prometheus.Counter
	givenBack     prometheus.Counter
	inHand        prometheus.Gauge
	redelivered   prometheus.Counter
	retried       prometheus.Counter
	stored        prometheus.Counter
	pack          prometheus.Histogram
	flush         prometheus.Histogram
	backwards     prometheus.Counter
	stopped       prometheus.Gauge
	devices       prometheus.Gauge
	sessions      prometheus.Counter
	downlinksLost prometheus.Counter
	censuses      prometheus.Counter
	updatesLost   prometheus.Counter
	watches       prometheus.Gauge
	requests      *prometheus.CounterVec
	asked         prometheus.Gauge
	durable       prometheus.Gauge
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	fates := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "core_node_messages_total", Help: "Messages that have had their fate.",
	}, []string{"fate"})
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		r.MustRegister(g)
		return g
	}
	histogram := func(name, help string, from float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(from, 4, 9),
		})
		r.MustRegister(h)
		return h
	}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "core_node_rpc_total", Help: "Requests to devices, by what became of them; persistent ones by every status they had.",
	}, []string{"fate"})
	r.MustRegister(fates, requests)
	return &Metrics{
		taken:         counter("core_node_messages_taken_total", "Messages taken on: one per time stamp of an uplink, and one per record of the others."),
		processed:     fates.WithLabelValues(fateProcessed),
		dead:          fates.WithLabelValues(fateDeadLettered),
		refused:       fates.WithLabelValues(fateRefused),
		givenBack:     fates.WithLabelValues(fateGivenBack),
		inHand:        gauge("core_node_messages_in_hand", "Messages taken on that have no fate yet."),
		redelivered:   counter("core_node_records_redelivered_total", "Records this process had been given before."),
		retried:       counter("core_node_messages_retried_total", "Messages started again after a fault of their own."),
		stored:        counter("core_node_messages_stored_total", "Telemetry messages processed: stored, where their chain stores them."),
		pack:          histogram("core_node_pack_records", "Records handled and stored together.", 1),
		flush:         histogram("core_node_pack_seconds", "From a pack's first record to everything it caused being durable.", 0.0001),
		backwards:     counter("core_node_commit_epoch_backwards_total", "Partitions found committed by a later epoch than this node's."),
		stopped:       gauge("core_node_partitions_waiting", "Partitions that wait for a part of the platform."),
		devices:       gauge("core_node_devices_tracked", "Devices whose connectivity is in memory."),
		sessions:      counter("core_node_sessions_opened_total", "Sessions of devices opened."),
		downlinksLost: counter("core_node_downlinks_lost_total", "Messages to sessions that the bus did not take."),
		censuses:      counter("core_node_censuses_total", "How often all devices were gone through for partitions new on this node."),
		updatesLost:   counter("core_node_live_updates_lost_total", "Messages to nodes that watch, which the bus did not take: those nodes read instead."),
		requests:      requests,
		asked:         gauge("core_node_rpc_pending", "Requests to devices that wait for them or for their answers, those that are not persistent."),
		durable:       gauge("core_node_rpc_persistent", "Persistent requests to devices that have not ended."),
		watches:       gauge("core_node_live_watches", "Entities of this node's partitions watched by other nodes, each node counted."),
	}
}
