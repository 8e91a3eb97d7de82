// Package bustest gives tests a real bus in milliseconds, and holds every broker to the same contract.
package bustest

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/broker"
	"github.com/sluice-iot/sluice/bus/topics"
)

// Partitions is how many partitions each owned topic has in tests.
const Partitions = 2

// Start returns a client of a new broker in memory that has the platform's topics. Client and broker end with the test.
func Start(t testing.TB) *bus.Client {
	t.Helper()
	return Dial(t, Broker(t), bus.Options{Node: "test", ReplyPrefix: topics.CoreResponses})
}

// Broker returns the address of a new broker in memory that has the platform's topics. It ends with the test.
func Broker(t testing.TB) string {
	t.Helper()
	return start(t, "")
}

// DurableBroker is Broker with its messages on disk, synced.
func DurableBroker(t testing.TB) string {
	t.Helper()
	return start(t, t.TempDir())
}

func start(t testing.TB, dir string) string {
	t.Helper()
	config := broker.DefaultConfig()
	b, err := broker.Start(config, broker.Options{Dir: dir, Group: Config(t, "").Group})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := topics.Create(ctx, []string{b.Addr()}, topics.Embedded(Partitions, nil, config.DeadLetterBytes), 1); err != nil {
		t.Fatal(err)
	}
	return b.Addr()
}

// Config returns the default settings for a client of the broker at addr.
func Config(t testing.TB, addr string) bus.Config {
	t.Helper()
	config := bus.DefaultConfig()
	config.Brokers = []string{addr}
	config.ConnectTimeout = 10 * time.Second
	return config
}

// Dial returns a client of the broker at addr. It ends with the test.
func Dial(t testing.TB, addr string, options bus.Options) *bus.Client {
	t.Helper()
	return DialConfig(t, Config(t, addr), options)
}

// DialConfig is Dial with settings of the test's own; start from Config.
func DialConfig(t testing.TB, config bus.Config, options bus.Options) *bus.Client {
	t.Helper()
	if options.Metrics == nil {
		options.Metrics = prometheus.NewRegistry()
	}
	client, err := bus.Dial(t.Context(), config, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}
