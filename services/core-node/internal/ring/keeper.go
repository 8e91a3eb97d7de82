package ring

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
)

// keeper does what there is to do for one partition, as long as Run runs: it takes it, has it processed, releases it, and
// answers for it until another owner is seen.
type keeper struct {
	z         *ZooKeeper
	partition int
	own       Own
	held      Held
	spawn     func(func() error)
	log       *slog.Logger

	mu      sync.Mutex
	current desire

	// Below, the keeper's goroutine's own.

	// unsure is a session in which a change of ours may have been made or not.
	unsure *session
	// answering ends held, nil when it does not run; answered is closed when the last one has returned.
	answering context.CancelFunc
	answered  chan struct{}
}

// desire is what a keeper should be doing.
type desire struct {
	session *session // nil: none
	wanted  bool
	changed chan struct{} // closed when another desire holds
	// ctx ends then too, and with the session.
	ctx context.Context //nolint:containedctx // it is this desire's life
	end context.CancelFunc
}

func newDesire(s *session, wanted bool) desire {
	life := context.Background()
	if s != nil {
		life = s.ctx
	}
	d := desire{session: s, wanted: wanted, changed: make(chan struct{})}
	d.ctx, d.end = context.WithCancel(life)
	return d
}

func (k *keeper) desire(s *session, wanted bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current.session == s && k.current.wanted == wanted {
		return
	}
	close(k.current.changed)
	k.current.end()
	k.current = newDesire(s, wanted)
}

func (k *keeper) desired() desire {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

// until is a context that ends with d, and with ctx.
func (d desire) until(ctx context.Context) (context.Context, func()) {
	both, cancel := context.WithCancel(d.ctx)
	stop := context.AfterFunc(ctx, cancel)
	return both, func() { stop(); cancel() }
}

// run keeps the partition until ctx ends and it is released.
func (k *keeper) run(ctx context.Context) error {
	for ctx.Err() == nil {
		d := k.desired()
		if k.unsure != nil && k.unsure != d.session {
			k.unsure = nil // what was made in it has gone with it
		}
		switch {
		case d.session == nil || d.session.ctx.Err() != nil:
			k.wait(ctx, d, nil)
		case d.wanted:
			if err := k.claim(ctx, d); err != nil {
				return err
			}
		case k.unsure != nil:
			k.abandon(d.session)
		case k.answering != nil:
			k.awaitSuccessor(ctx, d)
		default:
			k.wait(ctx, d, nil)
		}
	}
	if k.unsure != nil {
		k.abandon(k.unsure)
	}
	return nil
}

// wait waits until d is over, ctx ends, or something else is closed.
func (k *keeper) wait(ctx context.Context, d desire, something <-chan struct{}) {
	select {
	case <-something:
	case <-d.changed:
	case <-ctx.Done():
	}
}

// claim takes the partition, has it processed, and releases it.
func (k *keeper) claim(ctx context.Context, d desire) error {
	if current, next := d.session.terms.now(); current == nil {
		k.wait(ctx, d, next)
		return nil
	}
	work, done := d.until(ctx)
	defer done()
	got, taken := k.take(work, d.session)
	if !taken {
		return nil
	}
	current, _ := d.session.terms.now()
	if current == nil {
		k.release(d.session, got)
		return nil
	}
	k.startAnswering(ctx)
	k.z.metrics.taken(k.partition, got.record.Epoch)
	k.log.Info("partition taken", "epoch", got.record.Epoch)
	l := &lease{partition: k.partition, epoch: got.record.Epoch, term: current}
	reason, err := k.process(ctx, d, l)
	l.over.Store(true)
	k.z.metrics.gone(k.partition, reason)
	k.log.Info("partition given up", "epoch", l.epoch, "reason", reason)
	if d.session.ctx.Err() == nil {
		k.release(d.session, got)
	}
	if err != nil {
		return fmt.Errorf("own partition %d: %w", k.partition, err)
	}
	if reason == goneReturned {
		pause(ctx, k.z.clock, k.z.options.Settings.ZooKeeperSettle, d.changed)
	}
	return nil
}

// lease implements Lease.
type lease struct {
	partition int
	epoch     int64
	term      *term
	over      atomic.Bool
}

func (l *lease) Partition() int { return l.partition }
func (l *lease) Epoch() int64   { return l.epoch }
func (l *lease) Valid() bool    { return !l.over.Load() && l.term.live() }

// process runs own under l and returns why it ended.
func (k *keeper) process(ctx context.Context, d desire, l *lease) (reason string, err error) {
	owned, cancel := context.WithCancel(ctx)
	defer cancel()
	done, deleted := make(chan error, 1), make(chan struct{})
	go func() { done <- k.own(owned, l) }()
	var watching sync.WaitGroup
	watching.Go(func() {
		if k.awaitDeletion(owned, d.session, l) {
			close(deleted)
		}
	})
	defer watching.Wait()
	defer cancel()

	select {
	case err = <-done:
		if !l.Valid() {
			return goneLapsed, err
		}
		return goneReturned, err
	case <-d.changed:
		reason = goneMoved
	case <-ctx.Done():
		reason = goneStopped
	case <-l.term.ended:
		reason = goneLapsed
	case <-deleted:
		l.over.Store(true)
		reason = goneDeleted
	}
	if d.session.ctx.Err() != nil {
		reason = goneSession
	}
	cancel()
	return reason, <-done
}

// startAnswering runs held, unless it runs already.
func (k *keeper) startAnswering(ctx context.Context) {
	if k.answering != nil {
		return
	}
	before, done := k.answered, make(chan struct{})
	ctx, k.answering = context.WithCancel(ctx)
	k.answered = done
	k.spawn(func() error {
		defer close(done)
		if before != nil {
			<-before // the last one may still be answering
		}
		if err := k.held(ctx, k.partition); err != nil {
			return fmt.Errorf("answer for partition %d: %w", k.partition, err)
		}
		return nil
	})
}

// stopAnswering ends held: another owner was seen.
func (k *keeper) stopAnswering() {
	if k.answering != nil {
		k.answering()
		k.answering = nil
	}
}
