package ring

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Why a partition went.
const (
	goneMoved    = "moved"         // to another node, by the assignment
	goneStopped  = "stopped"       // this node stops
	goneLapsed   = "lapsed"        // ZooKeeper did not answer in time
	goneSession  = "session_lost"  // the session was over
	goneDeleted  = "lease_deleted" // its znode was removed by hand
	goneReturned = "returned"      // its processing ended by itself
)

type metrics struct {
	owned        prometheus.Gauge
	epochs       *prometheus.GaugeVec
	takings      prometheus.Counter
	handovers    *prometheus.CounterVec
	sessionsLost prometheus.Counter
	restored     prometheus.Counter
	rebalances   prometheus.Counter
}

func newMetrics(r prometheus.Registerer, left func() time.Duration) *metrics {
	m := &metrics{
		owned:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "core_node_ring_partitions", Help: "Partitions this node owns."}),
		epochs:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "core_node_ring_epoch", Help: "Epoch of the lease this node holds."}, []string{"partition"}),
		takings:      prometheus.NewCounter(prometheus.CounterOpts{Name: "core_node_ring_taken_total", Help: "Partitions taken."}),
		handovers:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "core_node_ring_handovers_total", Help: "Partitions given up, by reason."}, []string{"reason"}),
		sessionsLost: prometheus.NewCounter(prometheus.CounterOpts{Name: "core_node_ring_sessions_lost_total", Help: "Sessions with ZooKeeper that ended otherwise than by a stop."}),
		restored:     prometheus.NewCounter(prometheus.CounterOpts{Name: "core_node_ring_registrations_restored_total", Help: "Times this node's znode was gone while its session lived, and was made again."}),
		rebalances:   prometheus.NewCounter(prometheus.CounterOpts{Name: "core_node_ring_rebalances_total", Help: "Times partitions were assigned anew, joins having settled."}),
	}
	deadline := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "core_node_ring_deadline_seconds", Help: "How long the leases last if ZooKeeper does not answer any more; 0 when they are over.",
	}, func() float64 { return left().Seconds() })
	for _, reason := range [...]string{goneMoved, goneStopped, goneLapsed, goneSession, goneDeleted, goneReturned} {
		m.handovers.WithLabelValues(reason)
	}
	r.MustRegister(m.owned, m.epochs, m.takings, m.handovers, m.sessionsLost, m.restored, m.rebalances, deadline)
	return m
}

func (m *metrics) taken(partition int, epoch int64) {
	m.owned.Inc()
	m.takings.Inc()
	m.epochs.WithLabelValues(strconv.Itoa(partition)).Set(float64(epoch))
}

func (m *metrics) gone(partition int, reason string) {
	m.owned.Dec()
	m.handovers.WithLabelValues(reason).Inc()
	m.epochs.DeleteLabelValues(strconv.Itoa(partition))
}
