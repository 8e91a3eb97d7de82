package memory

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// TestGivesBack holds the process to what it is for: garbage of a burst leaves a silent process.
func TestGivesBack(t *testing.T) {
	defer goleak.VerifyNone(t)
	const burst = 64 << 20
	garbage := make([]byte, burst)
	for i := range garbage {
		garbage[i] = 1
	}
	before := readUsage().held
	runtime.KeepAlive(garbage)

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New(Config{Return: 5 * time.Millisecond}).Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); readUsage().held > before-burst/2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("after 10 s %d bytes are held of %d", readUsage().held, before)
			break
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestWhen tells at which looks memory is given back.
func TestWhen(t *testing.T) {
	const mib = 1 << 20
	// after is what a process that gave back still holds.
	const after = 20 * mib
	looks := []struct {
		name        string
		held, asked uint64 // asked since the look before
		freed       bool
	}{
		{"what the start left", 40 * mib, mib, true},
		{"quiet, nothing gained", after, mib, false},
		{"a little more is held", after + worth - 1, mib, false},
		{"a burst goes on", 100 * mib, 500 * mib, false},
		{"it just ended", 100 * mib, worth, false},
		{"quiet since", 100 * mib, mib, true},
		{"quiet still", after + mib, mib, false},
	}
	var now usage
	freed := false
	k := &Keeper{read: func() usage { return now }, free: func() { freed, now.held = true, after }}
	for _, look := range looks {
		now.held, freed = look.held, false
		now.asked += look.asked
		k.look()
		if freed != look.freed {
			t.Errorf("%s: gave back %t, want %t", look.name, freed, look.freed)
		}
	}
}

func TestNeverWhenToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		k := New(Config{})
		k.free = func() { t.Error("gave back") }
		if err := k.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestLimit(t *testing.T) {
	before := debug.SetMemoryLimit(-1) // reads it
	defer debug.SetMemoryLimit(before)
	New(Config{})
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("no limit was set, and it changed from %d to %d", before, got)
	}
	New(Config{Limit: math.MaxInt32})
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt32 {
		t.Errorf("the limit is %d, want %d", got, math.MaxInt32)
	}
}
