package ring

import (
	"bytes"
	"context"
	"errors"
)

// claim is a lease that was taken: what epochs/<p> holds since, and that znode's version.
type claim struct {
	record  record
	version int32
}

// take makes the lease's znode as soon as nobody else has it, and the epoch larger, in one transaction. It returns false when ctx
// ended first; k.unsure then says whether a change may have been made.
func (k *keeper) take(ctx context.Context, s *session) (claim, bool) {
	for ctx.Err() == nil {
		last, err := k.last(ctx, s)
		if err == nil && k.free(ctx, s, last) {
			var got claim
			if got, err = k.write(ctx, s, last); err == nil {
				k.unsure = nil
				return got, true
			}
			if errors.Is(err, errExists) || errors.Is(err, errVersion) {
				continue // another was faster: look again
			}
			if errors.Is(err, errNoNode) { // removed by hand
				err = s.makeFolders(ctx)
			}
		}
		if err != nil && ctx.Err() == nil {
			if !errors.Is(err, errLost) {
				k.log.Warn("the partition cannot be taken yet", "err", err)
			}
			pause(ctx, k.z.clock, retry, nil)
		}
	}
	return claim{}, false
}

// last reads who took the partition last. Where nobody has, epochs begin at the time of day in seconds: an emptied ZooKeeper then
// does not make them go backwards.
func (k *keeper) last(ctx context.Context, s *session) (claim, error) {
	path := k.z.layout.epoch(k.partition)
	for {
		found, err := s.conn.Read(ctx, path, nil)
		if err == nil {
			last, err := decodeRecord(found.data)
			return claim{last, found.version}, err
		}
		if !errors.Is(err, errNoNode) {
			return claim{}, err
		}
		first := record{Epoch: k.z.clock.Now().Unix(), Released: true}
		err = s.conn.Apply(ctx, change{kind: create, path: path, data: first.encode()})
		if errors.Is(err, errNoNode) {
			err = s.makeFolders(ctx)
		}
		if err != nil && !errors.Is(err, errExists) {
			return claim{}, err
		}
	}
}

// free reports whether the partition may be taken now; else it has waited until that may have changed.
//
// It may if its last owner has released it, if that was this very session, or if the lease's znode went with its session. A lease
// removed by hand while its owner lives is not free: the owner's znode tells, and the owner, who is told, releases it.
func (k *keeper) free(ctx context.Context, s *session, last claim) bool {
	if last.record.Session == sessionName(s.id) && !last.record.Released {
		return true
	}
	changed := make(chan struct{})
	found, owner, err := k.owner(ctx, s, func() { close(changed) })
	switch {
	case err == nil && owner.Node != k.z.options.Node:
		k.stopAnswering()
		fallthrough
	case err == nil:
		k.awaitLease(ctx, s, found, changed)
		return false
	case !errors.Is(err, errNoNode):
		pause(ctx, k.z.clock, retry, nil)
		return false
	case last.record.Released:
		return true
	}
	witness, err := s.conn.Read(ctx, k.z.layout.node(last.record.Node), nil)
	if errors.Is(err, errNoNode) || err == nil && sessionName(witness.owner) != last.record.Session {
		return true
	}
	pause(ctx, k.z.clock, retry, nil)
	return false
}

// owner reads the lease's znode.
func (k *keeper) owner(ctx context.Context, s *session, changed func()) (znode, record, error) {
	found, err := s.conn.Read(ctx, k.z.layout.lease(k.partition), changed)
	if err != nil {
		return znode{}, record{}, err
	}
	r, err := decodeRecord(found.data)
	if err != nil { // somebody's by hand: as good as anybody's
		r = record{}
	}
	return found, r, nil
}

// awaitLease waits until the lease's znode may be another than seen (zero: there was none). What changed should tell is looked up now and
// then, without another watch: nobody would take it away.
func (k *keeper) awaitLease(ctx context.Context, s *session, seen znode, changed <-chan struct{}) {
	for pause(ctx, k.z.clock, audit*s.timeout, changed) {
		now, err := s.conn.Read(ctx, k.z.layout.lease(k.partition), nil)
		if err != nil && !errors.Is(err, errNoNode) || now.owner != seen.owner || !bytes.Equal(now.data, seen.data) {
			return
		}
	}
}

// write makes the lease and the next epoch.
func (k *keeper) write(ctx context.Context, s *session, last claim) (claim, error) {
	next := record{Epoch: last.record.Epoch + 1, Node: k.z.options.Node, Session: sessionName(s.id)}
	changes := make([]change, 0, 3)
	path := k.z.layout.lease(k.partition)
	if last.record.Session == next.Session && !last.record.Released {
		// Taken in this session already: in an earlier term, or by a change whose answer was lost.
		switch found, err := s.conn.Read(ctx, path, nil); {
		case err == nil && found.owner == s.id:
			changes = append(changes, change{kind: remove, path: path, version: anyVersion})
		case err != nil && !errors.Is(err, errNoNode):
			return claim{}, err
		}
	}
	changes = append(changes,
		change{kind: create, path: path, data: next.encode(), ephemeral: true},
		change{kind: update, path: k.z.layout.epoch(k.partition), data: next.encode(), version: last.version})
	k.unsure = s
	err := s.conn.Apply(ctx, changes...)
	if err != nil && !errors.Is(err, errLost) && ctx.Err() == nil {
		k.unsure = nil // an answer: nothing was changed
	}
	return claim{next, last.version + 1}, err
}

// release gives the lease back, saying that its owner acts no more. What cannot be said within the session's time-out is left
// to abandon.
func (k *keeper) release(s *session, held claim) {
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
	defer cancel()
	k.unsure = s
	released := held.record
	released.Released = true
	mark := change{kind: update, path: k.z.layout.epoch(k.partition), data: released.encode(), version: held.version}
	for ctx.Err() == nil {
		err := s.conn.Apply(ctx, change{kind: remove, path: k.z.layout.lease(k.partition), version: anyVersion}, mark)
		if errors.Is(err, errNoNode) { // the lease was removed by hand
			err = s.conn.Apply(ctx, mark)
		}
		// Another version: another has taken it since, or an attempt whose answer was lost was made.
		if err == nil || errors.Is(err, errVersion) || errors.Is(err, errNoNode) {
			k.unsure = nil
			return
		}
		pause(ctx, k.z.clock, retry, nil)
	}
}

// abandon releases what this session may have taken without having been told.
func (k *keeper) abandon(s *session) {
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
	defer cancel()
	for ctx.Err() == nil {
		last, err := k.last(ctx, s)
		switch {
		case err != nil:
			pause(ctx, k.z.clock, retry, nil)
		case last.record.Session != sessionName(s.id) || last.record.Released:
			k.unsure = nil
			return
		default:
			k.release(s, last)
			return
		}
	}
}

// awaitDeletion returns true when the znode of l is no longer there, though l was not released; false when ctx or the session ended.
func (k *keeper) awaitDeletion(ctx context.Context, s *session, l *lease) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	for ctx.Err() == nil {
		changed := make(chan struct{})
		found, owner, err := k.owner(ctx, s, func() { close(changed) })
		switch {
		case errors.Is(err, errNoNode), err == nil && (found.owner != s.id || owner.Epoch != l.epoch):
			return true
		case err != nil:
			pause(ctx, k.z.clock, retry, nil)
		default:
			k.awaitLease(ctx, s, found, changed)
		}
	}
	return false
}

// awaitSuccessor waits until another owner is seen, and ends the answering then.
func (k *keeper) awaitSuccessor(ctx context.Context, d desire) {
	ctx, done := d.until(ctx)
	defer done()
	for ctx.Err() == nil {
		changed := make(chan struct{})
		found, owner, err := k.owner(ctx, d.session, func() { close(changed) })
		switch {
		case err == nil && owner.Node != k.z.options.Node:
			k.stopAnswering()
			return
		case err == nil, errors.Is(err, errNoNode):
			k.awaitLease(ctx, d.session, found, changed)
		default:
			pause(ctx, k.z.clock, retry, nil)
		}
	}
}
