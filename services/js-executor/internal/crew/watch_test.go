package crew

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// A machine that stood still excuses the time a call has waited, not what it is going to take.
func TestAStandstillExcusesNoMoreThanItself(t *testing.T) {
	now := time.Now()
	w := &worker{cmd: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}, since: now.Add(-time.Second)}
	for _, look := range []struct {
		after, stood, wall time.Duration
	}{
		{0, time.Minute, 0}, // most of it was before the call
		{2 * time.Second, 0, 2 * time.Second},
		{5 * time.Second, 3 * time.Second, 2 * time.Second},
	} {
		if _, wall := w.spent(now.Add(look.after), look.stood); wall != look.wall {
			t.Errorf("after %v: %v, want %v", look.after, wall, look.wall)
		}
	}
	w.since = now.Add(5 * time.Second) // the next call
	if _, wall := w.spent(now.Add(6*time.Second), 0); wall != time.Second {
		t.Errorf("the next call: %v", wall)
	}
}
