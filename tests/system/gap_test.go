package system

import (
	"context"
	"time"
)

// watchGap notes, from now on, the longest time in which no device got an acknowledgement. Calling what it returns
// ends that and tells it.
func (d *devices) watchGap(ctx context.Context) (end func() time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	worst := make(chan time.Duration, 1)
	go func() {
		var longest time.Duration
		since, last := time.Now(), d.acknowledged()
		for ctx.Err() == nil {
			time.Sleep(2 * time.Millisecond)
			if now := d.acknowledged(); now != last {
				since, last = time.Now(), now
			}
			longest = max(longest, time.Since(since))
		}
		worst <- longest
	}()
	return func() time.Duration {
		cancel()
		return <-worst
	}
}
