package child

import (
	"testing"
	"time"
)

// A machine that stood still excuses the call that ran then, also when nobody had looked at it before, and no other.
func TestAStandstillExcusesTheCallThatRan(t *testing.T) {
	var l looked
	for i, look := range []struct {
		number      uint64
		wall, stood time.Duration
		again       bool
		excused     time.Duration
	}{
		{7, 2 * time.Second, time.Second, false, time.Second},
		{7, 3 * time.Second, 0, true, time.Second},
		{7, 4 * time.Second, time.Second, true, 2 * time.Second},
		{8, time.Millisecond, 0, false, 0},
		{9, time.Millisecond, time.Second, false, time.Millisecond}, // most of it was before
		{9, 2 * time.Second, 0, true, time.Millisecond},
	} {
		if again := l.again(look.number, look.wall, look.stood); again != look.again || l.stood != look.excused {
			t.Errorf("look %d: again %v, excused %v; want %v, %v", i, again, l.stood, look.again, look.excused)
		}
	}
}
