package ring

import (
	"context"
	"time"
)

// clock is the node's own time. It is monotonic and its rate is within one per cent of ZooKeeper's; on Linux it stands
// still while the machine is suspended, and goes on while the process is stopped (SIGSTOP).
type clock interface {
	Now() time.Time
	// After is sent to when d has passed, unless stop was called.
	After(d time.Duration) (passed <-chan time.Time, stop func() bool)
}

// system is the clock of the operating system.
type system struct{}

func (system) Now() time.Time { return time.Now() }

func (system) After(d time.Duration) (<-chan time.Time, func() bool) {
	t := time.NewTimer(d)
	return t.C, t.Stop
}

// pause waits for d, or until one of ended is; it reports whether d has passed.
func pause(ctx context.Context, c clock, d time.Duration, ended <-chan struct{}) bool {
	passed, stop := c.After(d)
	defer stop()
	select {
	case <-passed:
		return true
	case <-ended:
	case <-ctx.Done():
	}
	return false
}
