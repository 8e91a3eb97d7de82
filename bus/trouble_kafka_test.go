//go:build fleet && linux

package bus_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
)

// session is bustest's broker.session.timeout.ms: after it the cluster takes a silent broker for dead and elects leaders.
const session = 3 * time.Second

// recovery is how long after that everything must be acknowledged again, on a busy machine.
const recovery = 7 * time.Second

// TestBrokersFail: one broker of three is killed, or halted past the request time-out, under load. What was acknowledged is there, in
// order, and publishing goes on within seconds of the new leaders. FULL=1 kills a second one, with the first one back.
func TestBrokersFail(t *testing.T) {
	k := bustest.StartKafka(t, 3, "min.insync.replicas=2")
	troubles := []struct {
		name    string
		trouble func(broker int)
	}{
		{"killed", func(broker int) {
			k.Kill(broker)
			time.Sleep(session + recovery)
			k.Start(broker)
		}},
		{"halted", func(broker int) {
			k.Stop(broker)
			time.Sleep(session + recovery)
			k.Continue(broker)
		}},
		{"killed, the next one", func(broker int) {
			k.Kill(broker)
			time.Sleep(session + recovery)
			k.Start(broker)
		}},
	}
	if os.Getenv("FULL") != "1" {
		troubles = troubles[:2]
	}
	for i, c := range troubles {
		t.Run(c.name, func(t *testing.T) {
			config := fleetBus(t, k.Addresses, ledgerPartitions, 3)
			l := openLedger(t, config)
			time.Sleep(time.Second)
			c.trouble(i)
			time.Sleep(2 * time.Second)
			if gap := l.close(t); gap > session+recovery {
				t.Errorf("a device waited %v for an acknowledgement", gap)
			}
		})
	}
}

// TestBrokerRestarts: the only broker is killed and started again on its data, then halted past the request time-out.
func TestBrokerRestarts(t *testing.T) {
	k := bustest.StartKafka(t, 1)
	config := fleetBus(t, k.Addresses, ledgerPartitions, 1)
	l := openLedger(t, config)
	time.Sleep(time.Second)
	k.Kill(0)
	k.Start(0)
	time.Sleep(2 * time.Second)
	k.Stop(0)
	time.Sleep(config.RequestTimeout + time.Second)
	k.Continue(0)
	time.Sleep(2 * time.Second)
	l.close(t)
	for _, lag := range committedLag(t, l.client) {
		if lag.Committed < 0 && lag.End > 0 {
			t.Errorf("partition %d: the commits are gone", lag.Partition)
		}
	}
}

func committedLag(t *testing.T, c *bus.Client) []bus.PartitionLag {
	t.Helper()
	lags, err := c.Lag(t.Context(), topics.RuleEngine)
	if err != nil {
		t.Fatal(err)
	}
	return lags
}

// TestHaltedBrokerUnderLoad: the only broker is halted for longer than the publish deadline while far more comes than may wait.
// Memory stays within the bounds, refusals say why, and afterwards everything acknowledged is there.
func TestHaltedBrokerUnderLoad(t *testing.T) {
	k := bustest.StartKafka(t, 1)
	config := fleetBus(t, k.Addresses, ledgerPartitions, 1)
	config.QueueBytes = 8 << 20 // of each topic
	l := openLedger(t, config)
	time.Sleep(time.Second)
	before := heap()
	k.Stop(0)
	f := flood{client: l.client, answers: map[error]int{}}
	f.run(t, config.PublishDeadline+2*time.Second)
	if grown := heap() - before; grown > 6*int64(config.QueueBytes) { // two topics; buffers grow by doubling; callbacks
		t.Errorf("the heap grew by %d MB with %d MB per topic allowed to wait", grown>>20, config.QueueBytes>>20)
	} else {
		t.Logf("the heap grew by %d MB", grown>>20)
	}
	k.Continue(0)
	f.open.Wait()
	f.run(t, time.Second) // it works again
	f.open.Wait()
	for _, expected := range []error{nil, bus.ErrFull, bus.ErrDeadline} {
		if f.answers[expected] == 0 {
			t.Errorf("no answer was %v", expected)
		}
	}
	t.Logf("answers to the flood: %v", f.answers)
	l.close(t)
	lags, err := l.client.Lag(t.Context(), topics.Core)
	if err != nil {
		t.Fatal(err)
	}
	stored := int64(0)
	for _, lag := range lags {
		stored += lag.End
	}
	if stored < int64(f.answers[nil]) {
		t.Errorf("%d messages were acknowledged, %d are there", f.answers[nil], stored)
	}
}

// flood publishes as fast as it is let and counts the answers by kind.
type flood struct {
	client  *bus.Client
	open    sync.WaitGroup
	mu      sync.Mutex
	answers map[error]int
}

func (f *flood) run(t *testing.T, within time.Duration) {
	t.Helper()
	value := make([]byte, 1000)
	for i, began := 0, time.Now(); time.Since(began) < within; i++ {
		m := bus.Message{Topic: topics.Core, Key: fmt.Append(nil, i%100), Value: value}
		f.open.Add(1)
		if err := f.client.Publish(m, func(err error) { f.count(t, err) }); err != nil {
			f.count(t, err)
			time.Sleep(time.Millisecond)
		}
	}
}

func (f *flood) count(t *testing.T, err error) {
	defer f.open.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, kind := range []error{bus.ErrFull, bus.ErrDeadline, bus.ErrUnavailable} {
		if errors.Is(err, kind) {
			err = kind
		}
	}
	switch err {
	case nil, bus.ErrFull, bus.ErrDeadline, bus.ErrUnavailable:
		f.answers[err]++
	default:
		t.Errorf("refused with %v", err)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
