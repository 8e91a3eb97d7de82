package ingest

import (
	"sync/atomic"
	"testing"

	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// lease ends when the test says.
type lease struct{ over atomic.Bool }

func (l *lease) Partition() int { return 0 }
func (l *lease) Epoch() int64   { return 7 }
func (l *lease) Valid() bool    { return !l.over.Load() }

func TestAfterTheLeaseNothingIsStoredOrCommitted(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	held := &lease{}
	w.lease = held
	w.start()
	w.send(w.uplink(d, reading(1, "t", telemetry.OfLong(1))))
	w.done(1)
	// It ends while a batch is on its way: the next batch, and the commit, must not follow.
	w.store.failing(func([]storage.Write) error {
		held.over.Store(true)
		return storage.ErrUnavailable
	})
	w.send(w.uplink(d, reading(2, "t", telemetry.OfLong(2))))
	if err := <-w.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	w.ended <- nil
	if len(w.points(d, "t")) != 1 || w.bus.committed(topics.RuleEngine, 0).offset != 1 {
		t.Errorf("stored %v, committed %v", w.points(d, "t"), w.bus.committed(topics.RuleEngine, 0))
	}
	if n := w.counted("core_node_messages_total", fateGivenBack); n != 1 {
		t.Errorf("%v given back", n)
	}
	w.addsUp()

	// Its successor of a lower epoch sees that something is wrong; stamps go on above.
	w.store.failing(nil)
	w.lease = nil
	w.start()
	w.done(2)
	if w.counted("core_node_commit_epoch_backwards_total", "") != 1 {
		t.Error("a commit of a later epoch went unnoticed")
	}
	w.addsUp()
}
