package intake

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus"
)

// commitAfter is how long what was answered waits to be committed: what is not is read again by whoever reads the partition next.
const commitAfter = 250 * time.Millisecond

// tracker knows up to where a partition's records have all been answered.
type tracker struct {
	reader bus.Reader

	mu        sync.Mutex
	records   []*progress // from the first that is not done
	next      int64       // offset to commit
	committed int64
}

// progress is one record's.
type progress struct {
	offset int64
	left   int
}

// begin takes a record with so many calls on; the function it returns says that one of them is done with, and reports whether there is more to commit.
// For a record without calls it is called once.
func (t *tracker) begin(offset int64, calls int) (done func() bool) {
	p := &progress{offset: offset, left: max(1, calls)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.records = append(t.records, p)
	return func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		p.left--
		before := t.next
		for len(t.records) > 0 && t.records[0].left <= 0 {
			t.next = t.records[0].offset + 1
			t.records = t.records[1:]
		}
		return t.next != before
	}
}

// commit commits what was answered since the last time.
func (t *tracker) commit(ctx context.Context) error {
	t.mu.Lock()
	next := t.next
	due := next > t.committed
	t.mu.Unlock()
	if !due {
		return nil
	}
	if err := t.reader.Commit(ctx, next, ""); err != nil {
		return err
	}
	t.mu.Lock()
	t.committed = max(t.committed, next)
	t.mu.Unlock()
	return nil
}

// commits are those of all partitions that are read.
type commits struct {
	wake chan struct{}

	mu       sync.Mutex
	trackers []*tracker
}

func (c *commits) add(t *tracker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trackers = append(c.trackers, t)
}

func (c *commits) drop(t *tracker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trackers = slices.DeleteFunc(c.trackers, func(other *tracker) bool { return other == t })
}

// rouse says that there is something to commit.
func (c *commits) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run commits a while after there is something, until ctx ends.
func (c *commits) run(ctx context.Context, log *slog.Logger) {
	timer := time.NewTimer(commitAfter)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		timer.Reset(commitAfter)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		c.mu.Lock()
		trackers := slices.Clone(c.trackers)
		c.mu.Unlock()
		for _, t := range trackers {
			if err := t.commit(ctx); err != nil && ctx.Err() == nil {
				log.Debug("commit what was answered", "err", err) // the group gathers, or the broker is away: tried again with the next
			}
		}
	}
}
