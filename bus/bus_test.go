package bus_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/bus/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestContract runs the suite on the embedded broker, in memory and on disk, and on a real one when
// BUS_BROKER has its address.
func TestContract(t *testing.T) {
	t.Run("memory", func(t *testing.T) { bustest.Run(t, bustest.Broker) })
	t.Run("disk", func(t *testing.T) { bustest.Run(t, bustest.DurableBroker) })
	if address := os.Getenv("BUS_BROKER"); address != "" {
		t.Run("external", func(t *testing.T) { bustest.Run(t, func(testing.TB) string { return address }) })
	}
}
