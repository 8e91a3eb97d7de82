package bus

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// backoff spaces attempts: each pause is longer than the one before, and random, so that
// many clients do not come back at once.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{next: firstPause} }

// wait pauses; it returns ctx's error when that ends first.
func (b *backoff) wait(ctx context.Context) error {
	pause := b.next/2 + rand.N(b.next/2)
	b.next = min(2*b.next, lastPause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reset makes the next pause the first again.
func (b *backoff) reset() { b.next = firstPause }
