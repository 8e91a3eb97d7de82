//go:build fleet && linux

package bus_test

import (
	"testing"

	"github.com/sluice-iot/sluice/bus/bustest"
)

// TestContractOnKafka runs the suite on the real Kafka that SLUICE_TEST_KAFKA names.
func TestContractOnKafka(t *testing.T) {
	bustest.Run(t, func(t testing.TB) string { return bustest.RealBrokers(t)[0] })
}
