package ring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// retry is the pause after a request that was lost or must be made again.
const retry = 20 * time.Millisecond

// session is one session with ZooKeeper and what this node does in it beside its partitions: it registers, proves that
// it lives, and follows who else does.
type session struct {
	z       *ZooKeeper
	conn    connection
	id      int64
	timeout time.Duration
	terms   *terms
	// ctx ends with the session: it is known to be over, or given up.
	ctx    context.Context
	cancel context.CancelFunc
	// version is our znode's; the heartbeat's own.
	version  int32
	draining atomic.Bool
	watching sync.WaitGroup
}

func newSession(z *ZooKeeper, conn connection, id int64, timeout time.Duration) *session {
	s := &session{z: z, conn: conn, id: id, timeout: timeout}
	s.terms = newTerms(z.clock, timeout-z.options.Settings.LeaseMargin)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.watching.Go(func() {
		select {
		case <-conn.Expired():
			s.cancel()
		case <-s.ctx.Done():
		}
		s.terms.stop()
	})
	return s
}

// close ends the session; all that was asked in it returns.
func (s *session) close() {
	s.cancel()
	s.watching.Wait()
	s.conn.Close()
}

// register makes our znode, waiting for that of a predecessor to expire.
func (s *session) register(ctx context.Context) error {
	var since time.Time // that another's znode is in the way
	for {
		err := s.enroll(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrTaken):
			now := s.z.clock.Now()
			if since.IsZero() {
				since = now
				s.z.troubled(err)
				s.z.log.Info("waiting for the znode of a predecessor to expire")
			}
			if now.Sub(since) > s.timeout+s.timeout/5 {
				return err
			}
		case !errors.Is(err, errLost):
			return err
		}
		if !pause(ctx, s.z.clock, retry, s.ctx.Done()) {
			return errors.Join(errLost, ctx.Err())
		}
	}
}

// enroll tries once: nil when our znode is there, ErrTaken when it is another session's.
func (s *session) enroll(ctx context.Context) error {
	path := s.z.layout.node(s.z.options.Node)
	for {
		err := s.conn.Apply(ctx, change{kind: create, path: path, data: s.z.self, ephemeral: true})
		switch {
		case err == nil:
			s.version = 0
			return nil
		case errors.Is(err, errNoNode):
			if err := s.makeFolders(ctx); err != nil {
				return err
			}
			continue
		case !errors.Is(err, errExists):
			return fmt.Errorf("register the node: %w", err)
		}
		found, err := s.conn.Read(ctx, path, nil)
		switch {
		case errors.Is(err, errNoNode):
			continue
		case err != nil:
			return fmt.Errorf("read the node's znode: %w", err)
		case found.owner != s.id:
			return fmt.Errorf("node %s, session %s: %w", s.z.options.Node, sessionName(found.owner), ErrTaken)
		}
		s.version = found.version
		return nil
	}
}

func (s *session) makeFolders(ctx context.Context) error {
	for _, path := range s.z.layout.folders() {
		if err := s.conn.Apply(ctx, change{kind: create, path: path}); err != nil && !errors.Is(err, errExists) {
			return fmt.Errorf("make %s: %w", path, err)
		}
	}
	return nil
}

// serve runs the session until it is over, or until ctx has ended and drained is closed. An error means that this
// node cannot stay in the ring.
func (s *session) serve(ctx context.Context, drained <-chan struct{}) error {
	var failed error
	var work sync.WaitGroup
	work.Go(func() {
		if failed = s.heartbeat(); failed != nil {
			s.cancel()
		}
	})
	work.Go(s.expireTerms)
	s.z.assign(s, nil, false)
	work.Go(func() { s.followMembers(ctx) })

	select {
	case <-s.ctx.Done():
	case <-ctx.Done():
		s.leave(drained)
	}
	s.cancel()
	s.z.detach()
	work.Wait()
	s.close()
	return failed
}

// leave takes our znode away, so that the others prepare to take over, and waits for the keepers' hand-over.
func (s *session) leave(drained <-chan struct{}) {
	s.z.troubled(errStopping)
	s.draining.Store(true)
	s.watching.Go(func() {
		// Its answer is of no interest: it is sent before any lease is released, or the session's end does the same.
		_ = s.conn.Apply(s.ctx, change{kind: remove, path: s.z.layout.node(s.z.options.Node), version: anyVersion})
	})
	select {
	case <-drained:
	case <-s.ctx.Done():
	}
}

var errStopping = errors.New("stopping")

// heartbeat proves every tenth of the time-out that the session lives, by a change: unlike a read, a change is answered only
// by a quorum that still knows the session. It ends with the session, or with ErrTaken.
func (s *session) heartbeat() error {
	path := s.z.layout.node(s.z.options.Node)
	every := heartbeat(s.timeout)
	for {
		sent := s.z.clock.Now()
		err := s.conn.Apply(s.ctx, change{kind: update, path: path, data: s.z.self, version: s.version})
		if s.ctx.Err() != nil {
			return nil
		}
		switch {
		case err == nil:
			s.version++
		case errors.Is(err, errNoNode) && s.draining.Load():
			err = nil
		case errors.Is(err, errNoNode), errors.Is(err, errVersion):
			if again := s.enroll(s.ctx); errors.Is(again, ErrTaken) {
				return again
			} else if again == nil && errors.Is(err, errNoNode) {
				s.z.metrics.restored.Inc()
				s.z.log.Warn("the node's znode was gone and is made again")
			}
			err = nil
		}
		wait := retry
		if err == nil {
			s.terms.prove(sent)
			wait = max(retry, every-s.z.clock.Now().Sub(sent))
		}
		if !pause(s.ctx, s.z.clock, wait, nil) {
			return nil
		}
	}
}

// expireTerms ends each term when its time is up, if nobody asks before.
func (s *session) expireTerms() {
	for {
		current, next := s.terms.now()
		if current == nil {
			select {
			case <-next:
				continue
			case <-s.ctx.Done():
				return
			}
		}
		if !pause(s.ctx, s.z.clock, max(time.Millisecond, current.left()), nil) {
			return
		}
		if !current.live() {
			s.z.log.Warn("ZooKeeper has not answered for too long: the leases are over", "session", sessionName(s.id))
		}
	}
}
