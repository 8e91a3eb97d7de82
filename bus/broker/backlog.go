package broker

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sluice-iot/sluice/bus/topics"
)

// backlog bounds what owned topics hold that has not been handled. It counts what is written as it is
// written, and takes the true figure over from the janitor, who deletes. Beyond the bound, and when the disk has no room, a
// write to an owned topic is refused with POLICY_VIOLATION, which publishers do not retry. What is no device's message may
// go a little beyond the bound: devices that never stop must not keep people from writing. Dead letters and answers are never
// refused: without them nothing would be handled, and the backlog never shrink.
type backlog struct {
	bound    int64
	room     func() error // nil: the disk is not looked at
	measured atomic.Int64 // bytes held when the janitor looked
	since    atomic.Int64 // what written was then
	written  atomic.Int64 // bytes written to owned topics, ever
	tails    atomic.Int64 // bytes written to all others, ever
	commits  atomic.Int64 // commits, ever
	refused  prometheus.Counter
}

// spare is the part of the bound by which what is no device's message may exceed it.
const spare = 8

func newBacklog(bound int64, room func() error, r prometheus.Registerer) *backlog {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	b := &backlog{bound: bound, room: room}
	b.refused = register(r, prometheus.NewCounter(prometheus.CounterOpts{
		Name: "broker_refused_batches_total", Help: "Batches the embedded broker refused because too much waits to be handled, or the disk has no room.",
	}))
	register(r, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "broker_backlog_bytes", Help: "Bytes of messages not yet handled that the embedded broker holds.",
	}, func() float64 { return float64(b.bytes()) }))
	return b
}

// register tolerates that a process has started a broker before, as tests do.
func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	var already prometheus.AlreadyRegisteredError
	if err := r.Register(c); errors.As(err, &already) {
		if same, ok := already.ExistingCollector.(C); ok {
			return same
		}
	}
	return c
}

func (b *backlog) bytes() int64 {
	return max(0, b.measured.Load()+b.written.Load()-b.since.Load())
}

// guard makes the cluster ask b before each write and tell it of each commit.
func (b *backlog) guard(cluster *kfake.Cluster) {
	cluster.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.PolicyViolation, Count: -1, When: b.refuse},
		kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Count: -1, Observe: true, When: func(kmsg.Request) bool { b.commits.Add(1); return false }},
	)
}

// refuse counts a write and reports whether it has to be refused. It runs on the cluster's one goroutine.
func (b *backlog) refuse(request kmsg.Request) bool {
	produce, ok := request.(*kmsg.ProduceRequest)
	if !ok {
		return false
	}
	owned, limit := int64(0), b.bound+b.bound/spare
	for i := range produce.Topics {
		size := int64(0)
		for j := range produce.Topics[i].Partitions {
			size += int64(len(produce.Topics[i].Partitions[j].Records))
		}
		if !topics.Owned(produce.Topics[i].Topic) {
			b.tails.Add(size)
			continue
		}
		owned += size
		if topics.Uplinks(produce.Topics[i].Topic) {
			limit = b.bound
		}
	}
	if owned > 0 && (b.bytes()+owned > limit || b.room != nil && b.room() != nil) {
		b.refused.Inc()
		return true
	}
	b.written.Add(owned)
	return false
}
