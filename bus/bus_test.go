package bus_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/bus/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestContract runs the suite on the embedded broker, in memory and on disk; kafka_test.go runs it on a real one.
func TestContract(t *testing.T) {
	t.Run("memory", func(t *testing.T) { bustest.Run(t, bustest.Broker) })
	t.Run("disk", func(t *testing.T) { bustest.Run(t, bustest.DurableBroker) })
}
