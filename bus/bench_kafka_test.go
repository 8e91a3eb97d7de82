//go:build fleet

package bus_test

import (
	"testing"

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
