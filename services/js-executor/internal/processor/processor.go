// Package processor tells how much processor time processes have had. On a busy machine that is what a script did; the clock on
// the wall also tells what others did meanwhile.
package processor

import (
	"math"
	"time"
)

// Self is this process, for Used.
const Self = 0

// most is how much longer than its time a call may take by the clock on the wall.
const (
	times = 4
	most  = 2 * time.Second
)

// Patience is how long a call that may have so much processor time may take by the clock on the wall: four times as long, at most 2 s more.
func Patience(timeout time.Duration) time.Duration { return min(times*timeout, timeout+most) }

// stall is how long a look that is made every few milliseconds may be away until the machine is taken to have stood still.
const stall = 100 * time.Millisecond

// Stood is how much of the time since the last look nobody can be charged with: who looks did not get to look either.
func Stood(sinceLook time.Duration) time.Duration {
	if sinceLook < stall {
		return 0
	}
	return sinceLook
}

// Unknown is the processor time of a process the system does not tell of.
const Unknown time.Duration = math.MaxInt64

// Spent is how much of a call's time is used up when so much has passed by the clock on the wall, and its process had that much processor time
// before and has now. A call that has more than one processor working for it (garbage is collected beside it) is not charged for that.
// What is not known is all the time there was.
func Spent(wall, before, now time.Duration) time.Duration {
	if before == Unknown || now == Unknown {
		return wall
	}
	return max(0, min(wall, now-before))
}
