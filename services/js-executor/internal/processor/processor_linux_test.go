package processor

import (
	"os"
	"testing"
	"time"
)

// What is done counts, and what is waited does not, whoever asks.
func TestUsed(t *testing.T) {
	const burnt = 50 * time.Millisecond
	for name, pid := range map[string]int{"the own process": Self, "by its id": os.Getpid()} {
		t.Run(name, func(t *testing.T) {
			before := Used(pid)
			if before == Unknown {
				t.Fatal("not told")
			}
			time.Sleep(2 * burnt)
			slept := Used(pid)
			for Used(pid)-slept < burnt {
			}
			if slept-before > burnt {
				t.Errorf("sleeping took %v", slept-before)
			}
		})
	}
	if got := Used(1 << 27); got != Unknown {
		t.Errorf("a process that is not there had %v", got)
	}
}

func TestSpent(t *testing.T) {
	for _, k := range []struct {
		name              string
		wall, before, now time.Duration
		want              time.Duration
	}{
		{"all of it", 10, 100, 110, 10},
		{"with help", 10, 100, 120, 10},
		{"little of it", 10, 100, 101, 1},
		{"unknown before", 10, Unknown, 101, 10},
		{"unknown now", 10, 100, Unknown, 10},
		{"never known", 10, Unknown, Unknown, 10},
	} {
		t.Run(k.name, func(t *testing.T) {
			if got := Spent(k.wall, k.before, k.now); got != k.want {
				t.Errorf("got %v, want %v", got, k.want)
			}
		})
	}
	if got := Patience(time.Second / 2); got != 2*time.Second {
		t.Errorf("half a second: %v", got)
	}
	if got := Patience(2 * time.Second); got != 4*time.Second {
		t.Errorf("two seconds: %v", got)
	}
}
