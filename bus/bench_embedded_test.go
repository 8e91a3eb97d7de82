//go:build !fleet

package bus_test

import (
	"testing"

	"github.com/sluice-iot/sluice/bus/bustest"
)

// benchBroker returns the embedded broker, synced, two partitions.
func benchBroker(b *testing.B) string {
	b.Helper()
	return bustest.DurableBroker(b)
}
