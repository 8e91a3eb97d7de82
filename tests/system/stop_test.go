package system

import (
	"context"
	"syscall"
	"testing"
	"time"
)

const (
	stopDevices  = 60
	defaultStops = 3                // LEDGER_STOPS asks for more
	stopTime     = 10 * time.Second // longest for an orderly stop under load
)

// TestStopUnderLoad stops the process in order while devices of all three protocols send, again
// and again: each stop is quick and clean, and nothing acknowledged is lost.
func TestStopUnderLoad(t *testing.T) {
	stops := times(t, "LEDGER_STOPS", defaultStops)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(stops)*20*time.Second)
	defer cancel()
	process := NewStandalone(t)
	if err := process.Start(ctx); err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, process)
	fleet := newFleet(ctx, t, process, tenant, stopDevices)
	stop := fleet.run(ctx, t)
	for range stops {
		fleet.awaitAcknowledged(ctx, t, fleet.acknowledged()+2*stopDevices)
		began := time.Now()
		process.Signal(syscall.SIGTERM)
		code := process.Wait()
		took := time.Since(began)
		if code != 0 {
			t.Errorf("exit code %d after SIGTERM", code)
		}
		if took > stopTime {
			t.Errorf("the stop took %s", took)
		}
		t.Logf("stopped within %s", took.Round(time.Millisecond))
		if err := process.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	fleet.awaitAcknowledged(ctx, t, fleet.acknowledged()+stopDevices)
	stop()
	total := fleet.check(ctx, t, tenant)
	t.Logf("sent %d, acknowledged %d, stored %d, lost %d, duplicates %d, resent %d",
		total.Sent, total.Acknowledged, total.Stored, len(total.Lost), total.Duplicates, total.Resent)
}

// TestSecondSignalForces stops a process that gives load balancers long notice.
func TestSecondSignalForces(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	process := NewStandalone(t, "--drain-notice=30s")
	if err := process.Start(ctx); err != nil {
		t.Fatal(err)
	}
	process.Signal(syscall.SIGTERM)
	eventually(ctx, t, 5*time.Second, func() error {
		ready, _, err := process.Ready(ctx)
		if err == nil && ready {
			return errStillReady
		}
		return err
	})
	began := time.Now()
	process.Signal(syscall.SIGTERM)
	if code := process.Wait(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("being forced took %s", took)
	}
}
