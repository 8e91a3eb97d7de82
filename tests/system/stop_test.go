package system

import (
	"context"
	"testing"
	"time"
)

const (
	stopDevices  = 60
	defaultStops = 3                // LEDGER_STOPS asks for more
	stopTime     = 10 * time.Second // longest for an orderly stop under load
)

// TestStopUnderLoad stops the platform in order while devices of all three protocols send, again
// and again: each stop is quick and clean, and nothing acknowledged is lost.
func TestStopUnderLoad(t *testing.T) {
	stops := times(t, "LEDGER_STOPS", defaultStops)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+time.Duration(stops)*20*time.Second)
	defer cancel()
	platform := newPlatform(ctx, t)
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, platform)
	devices := newDevices(ctx, t, platform.Doors(), tenant, stopDevices)
	stop := devices.run(ctx, t)
	for range stops {
		devices.awaitAcknowledged(ctx, t, devices.acknowledged()+2*stopDevices)
		began := time.Now()
		if err := platform.Stop(); err != nil {
			t.Error(err)
		}
		took := time.Since(began)
		if took > stopTime {
			t.Errorf("the stop took %s", took)
		}
		t.Logf("stopped within %s", took.Round(time.Millisecond))
		if err := platform.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	devices.awaitAcknowledged(ctx, t, devices.acknowledged()+stopDevices)
	stop()
	total := devices.check(ctx, t, tenant)
	t.Logf("sent %d, acknowledged %d, stored %d, lost %d, duplicates %d, resent %d",
		total.Sent, total.Acknowledged, total.Stored, len(total.Lost), total.Duplicates, total.Resent)
}
