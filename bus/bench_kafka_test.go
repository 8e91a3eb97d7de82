//go:build fleet && linux

package bus_test

import (
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
)

// benchBroker returns the real Kafka that SLUICE_TEST_KAFKA names, twelve partitions.
func benchBroker(b *testing.B) string {
	b.Helper()
	brokers := bustest.RealBrokers(b)
	if err := topics.Create(b.Context(), brokers, topics.Standard(12), 1); err != nil {
		b.Fatal(err)
	}
	return brokers[0]
}

// fleetPartitions is a fleet's default; a core node that is alone owns that many partitions of three topics.
const fleetPartitions = 24

// fleetBus returns settings for a fleet's topics under a prefix of their own.
func fleetBus(t testing.TB, brokers []string, partitions, replication int) bus.Config {
	t.Helper()
	config := bustest.Config(t, brokers[0])
	config.Brokers = brokers
	config.TopicPrefix = rand.Text() + "."
	if err := topics.Create(t.Context(), brokers, topics.Prefixed(config.TopicPrefix, topics.Standard(partitions)), replication); err != nil {
		t.Fatal(err)
	}
	return config
}

// openAll opens every owned partition at once.
func openAll(t testing.TB, c *bus.Client) []bus.Reader {
	t.Helper()
	var (
		opening sync.WaitGroup
		mu      sync.Mutex
		readers []bus.Reader
	)
	for _, topic := range []string{topics.RuleEngine, topics.Core, topics.TransportRequests} {
		for p := range fleetPartitions {
			opening.Go(func() {
				r, err := c.OpenReader(t.Context(), topic, p)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				readers = append(readers, r)
			})
		}
	}
	opening.Wait()
	return readers
}

// BenchmarkOpen measures how long a core node that is alone takes from nothing to all its readers, and how long it takes
// to commit and close them.
func BenchmarkOpen(b *testing.B) {
	config := fleetBus(b, bustest.RealBrokers(b), fleetPartitions, 1)
	var dialed, opened, closed time.Duration
	for b.Loop() {
		began := time.Now()
		c, err := bus.Dial(b.Context(), config, bus.Options{Node: "n", ReplyPrefix: topics.CoreResponses})
		if err != nil {
			b.Fatal(err)
		}
		dialed += time.Since(began)
		began = time.Now()
		readers := openAll(b, c)
		opened += time.Since(began)
		began = time.Now()
		var closing sync.WaitGroup
		for _, r := range readers {
			closing.Go(func() {
				if err := r.Commit(b.Context(), 0, "epoch"); err != nil {
					b.Error(err)
				}
				if err := r.Close(); err != nil {
					b.Error(err)
				}
			})
		}
		closing.Wait()
		closed += time.Since(began)
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	}
	for name, total := range map[string]time.Duration{"dial-ms": dialed, "open-ms": opened, "commit-close-ms": closed} {
		b.ReportMetric(float64(total.Milliseconds())/float64(b.N), name)
	}
}
