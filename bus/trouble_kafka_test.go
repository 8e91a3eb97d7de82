//go:build fleet && linux

package bus_test

import (
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
// order, and publishing goes on within seconds of the new leaders.
func TestBrokersFail(t *testing.T) {
	k := bustest.StartKafka(t, 3, "min.insync.replicas=2")
	for i, c := range []struct {
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
	} {
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
