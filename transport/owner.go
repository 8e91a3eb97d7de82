package transport

import (
	"context"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
)

// The sessions of partitions whose owner is new are announced in parts that fit into a second, so that the bus and the
// owner get them evenly.
const (
	announceEvery = 50 * time.Millisecond
	announceParts = 15
)

// mostMoved bounds the partitions noted: more than any installation has.
const mostMoved = 1 << 16

// moved is the partitions whose owner is new and has yet to be told of the sessions there.
type moved struct {
	mu         sync.Mutex
	partitions map[int32]struct{}
	count      int32 // of all partitions
	// all: an announcement may have been missed.
	all   bool
	notes int           // how often something was noted
	wake  chan struct{} // has a token when something was noted
}

func newMoved() moved { return moved{wake: make(chan struct{}, 1)} }

// note adds the partition of o, or all of them if o is nil.
func (m *moved) note(o *sluicepb.PartitionOwner) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case o == nil:
		m.all = true
	case o.GetPartition() < 0 || o.GetPartition() >= o.GetPartitions() || len(m.partitions) >= mostMoved:
		return
	default:
		if m.partitions == nil {
			m.partitions = map[int32]struct{}{}
		}
		m.partitions[o.GetPartition()], m.count = struct{}{}, o.GetPartitions()
	}
	m.notes++
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// holds reports whether a device's sessions are to be announced.
func (m *moved) holds(d *Device) bool {
	if m.all {
		return true
	}
	_, is := m.partitions[int32(bus.Partition(d.ID.ID[:], int(m.count)))]
	return is
}

// done forgets what was noted, unless more has been since there were so many notes.
func (m *moved) done(notes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.notes == notes {
		clear(m.partitions)
		m.all = false
	}
}

// movedSessions returns the sessions that new owners are to be told of, and by how many notes.
func (r *sessions) movedSessions() (found []*session, notes int) {
	r.moved.mu.Lock()
	defer r.moved.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := r.oldest; s != nil; s = s.next {
		if r.moved.holds(s.device) {
			found = append(found, s)
		}
	}
	return found, r.moved.notes
}

// followOwners announces sessions to new owners until ctx ends. A further change while it does so has it begin anew.
func (r *sessions) followOwners(ctx context.Context) {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.moved.wake:
		}
		tick.Reset(announceEvery)
		r.announceMoved(ctx, tick.C)
	}
}

// announceMoved announces the sessions that new owners are to be told of, a part at every tick, until something more is
// noted. What the bus has no room for waits for the next tick.
func (r *sessions) announceMoved(ctx context.Context, tick <-chan time.Time) {
	due, notes := r.movedSessions()
	part := (len(due) + announceParts - 1) / announceParts
	for len(due) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		if len(r.moved.wake) > 0 {
			return
		}
		due = due[r.announceSome(due[:min(part, len(due))], time.Now()):]
	}
	r.moved.done(notes)
}

// announceSome announces sessions, in order, and returns how many it did.
func (r *sessions) announceSome(due []*session, now time.Time) int {
	for i, s := range due {
		r.mu.Lock()
		var err error
		if !s.closed {
			err = r.announceAgain(s, now)
		}
		r.mu.Unlock()
		if err != nil {
			return i
		}
	}
	return len(due)
}
