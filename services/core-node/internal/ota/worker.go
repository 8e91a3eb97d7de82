package ota

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// lookEvery is how often the journal is looked through, give or take half of it.
const lookEvery = 10 * time.Second

// maxSkew is how far the clocks of nodes, which say when tasks are due, may differ.
const maxSkew = time.Minute

// sweeper is a store of blobs that has something to remove itself.
type sweeper interface {
	// Sweep removes what is half written and forgotten, and says how much that was.
	Sweep(ctx context.Context) (int, error)
}

// Run does what is due of the partitions that here says are this node's, until ctx ends.
func (l *Library) Run(ctx context.Context, here func(partition int) bool) error {
	from := make([]time.Time, l.o.Partitions) // nothing older is in the journal
	swept := time.Time{}
	for {
		more := false
		for partition := range l.o.Partitions {
			if !here(partition) {
				from[partition] = time.Time{}
				continue
			}
			oldest, unfinished, err := l.work(ctx, partition, from[partition])
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				l.o.Log.Warn("work off the journal of OTA packages; it is tried again", "partition", partition, "err", err)
			}
			from[partition], more = oldest, more || unfinished
		}
		if l.o.Now().Sub(swept) > uploadGrace {
			swept = l.o.Now()
			clear(from) // should a clock have been further behind than it may
			l.sweep(ctx)
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
			// What woke us is noted first, or will be in a moment.
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(lookAfter):
			}
		case <-time.After(lookEvery/2 + rand.N(lookEvery)):
		}
	}
}

// lookAfter is how long after a hint the journal is looked through.
const lookAfter = 100 * time.Millisecond

// Look has Run look through the journal soon: a profile has changed. It does not block.
func (l *Library) Look() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *Library) sweep(ctx context.Context) {
	files, ok := l.o.Blobs.(sweeper)
	if !ok {
		return
	}
	if _, err := files.Sweep(ctx); err != nil && ctx.Err() == nil {
		l.o.Log.Warn("remove what uploads have left half written; it is tried again later", "err", err)
	}
}

// work does the tasks of a partition that are due, of each of those that take long a part: unfinished says that some went well and have
// more to do. It returns from when on there may be others.
func (l *Library) work(ctx context.Context, partition int, from time.Time) (next time.Time, unfinished bool, err error) {
	now := l.o.Now()
	var due []entry
	newest := map[ident.ID]int{} // of several tasks of a profile the last does what all are for
	for e, err := range l.journal.due(ctx, partition, from, now) {
		if err != nil {
			return from, false, err
		}
		if e.Kind == profileTask {
			newest[e.ID] = len(due)
		}
		if due = append(due, e); len(due) == mostDue {
			break
		}
	}
	next = now.Add(-maxSkew)
	if len(due) == mostDue {
		next, unfinished = from, true
	}
	for i := range due {
		e := &due[i]
		more := false
		var failed error
		if last, several := newest[e.ID]; !several || last == i {
			more, failed = l.do(ctx, e)
		}
		if failed == nil && !more {
			failed = l.journal.done(ctx, e.task, e.key)
		}
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s %s: %w", e.Kind, e.ID, failed))
		}
		if failed != nil || more {
			next, unfinished = from, unfinished || more
		}
	}
	return next, unfinished && err == nil, err
}

// mostDue is how many tasks are taken up at once.
const mostDue = 256

// do does one task, or a part of it.
func (l *Library) do(ctx context.Context, e *entry) (more bool, err error) {
	switch e.Kind {
	case blobTask:
		return false, l.reclaim(ctx, e.task)
	case deviceTask:
		return false, l.announce(ctx, e.Tenant, ident.DeviceID{ID: e.ID}, e.At)
	case profileTask:
		return l.announceSome(ctx, e)
	}
	return false, nil // of a later version that was taken back; what it was for is not known
}

// reclaim removes a blob unless its package names it.
func (l *Library) reclaim(ctx context.Context, t task) error {
	p, err := l.entities.Packages.Get(ctx, t.Tenant, t.ID)
	switch {
	case err == nil && p.Data.Blob == t.Blob:
		return nil
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return err
	}
	if err := l.o.Blobs.Delete(ctx, t.Blob); err != nil {
		return fmt.Errorf("remove a blob: %w", err)
	}
	l.o.Metrics.orphans.Inc()
	return nil
}
