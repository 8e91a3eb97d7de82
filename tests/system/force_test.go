//go:build !fleet

package system

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"
)

var errStillReady = errors.New("the process says that it is ready")

// TestSecondSignalForces stops a process that gives load balancers long notice.
func TestSecondSignalForces(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	platform := NewStandalone(t, "--drain-notice=30s")
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	platform.Signal(syscall.SIGTERM)
	eventually(ctx, t, 5*time.Second, func() error {
		ready, _, err := platform.Ready(ctx)
		if err == nil && ready {
			return errStillReady
		}
		return err
	})
	began := time.Now()
	platform.Signal(syscall.SIGTERM)
	if code := platform.Wait(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("being forced took %s", took)
	}
}
