package transport

import (
	"sync/atomic"
	"time"
)

// maxAhead is how far a device's readings may run ahead of the clock (design §2.3).
const maxAhead = 1000 // ms

// resumeAhead is where a device that ran ahead may go on: a little below maxAhead, so that it
// is woken for a burst and not for every reading.
const resumeAhead = maxAhead - 100 // ms

// deviceClock gives the readings of one device that have no time of their own a strictly
// increasing one, ms since the epoch, so that two of the same millisecond do not overwrite each
// other. Safe for concurrent use.
type deviceClock struct {
	last   atomic.Int64 // the last time given out
	resume atomic.Int64 // when one that was refused may try again
}

// take reserves n consecutive times and returns the first; the last of them is now when the
// device is not ahead. ok is false, and nothing reserved, when they would end more than maxAhead
// in the future: the device is faster than one reading per millisecond and has to wait.
//
// A wall clock that was set back leaves last far ahead of now, which no device can bring about.
// Then order counts for more than the date: times go on from last.
func (c *deviceClock) take(now int64, n int) (first int64, ok bool) {
	for {
		last := c.last.Load()
		first = max(last+1, now-int64(n)+1)
		end := first + int64(n) - 1
		if end > now+maxAhead && last <= now+maxAhead {
			c.resume.Store(end - resumeAhead)
			return 0, false
		}
		if c.last.CompareAndSwap(last, end) {
			return first, true
		}
	}
}

// giveBack returns the times take reserved, if nobody took any since.
func (c *deviceClock) giveBack(first int64, n int) {
	c.last.CompareAndSwap(first+int64(n)-1, first-1)
}

// wait is how long a device that was refused has to wait until it may go on; 0 when it need not.
func (c *deviceClock) wait(now int64) time.Duration {
	if c.last.Load() > now+maxAhead {
		return 0
	}
	return max(0, time.Duration(c.resume.Load()-now)*time.Millisecond)
}
