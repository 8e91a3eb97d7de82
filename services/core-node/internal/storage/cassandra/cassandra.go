// Package cassandra is the store of a fleet: storage.Store on a Cassandra keyspace.
package cassandra

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Store is an open keyspace. It implements storage.Store.
type Store struct {
	options     Options
	current     atomic.Pointer[gocql.Session]
	consistency gocql.Consistency
	figures     *figures
	writes      chan struct{} // writes of values under way
	others      chan struct{} // other requests under way: reads do not queue behind a flood of writes
	days        *days
	eras        *eras
	writers     sync.Pool    // of *writer
	blocks      sync.Pool    // of *block
	lastStamp   atomic.Int64 // of a change of rows

	// before is asked before each request of a document; nil but in tests, where it is the kill.
	before func() error

	state   sync.RWMutex // of closed
	closed  bool
	users   sync.WaitGroup // requests under way
	failure atomic.Pointer[error]
	stop    context.CancelFunc
	prober  sync.WaitGroup
}

var _ storage.Store = (*Store)(nil)

// Open connects to the keyspace that Install made. A keyspace that is missing, not finished or of
// another version is an error which says so and what to do; so is a cluster that cannot be reached
// (ErrUnavailable). Once open, the store finds its way back to the cluster by itself.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	consistency, err := o.validate()
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	session, err := connectInstalled(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		options: o, consistency: consistency,
		writes: make(chan struct{}, o.InFlight), others: make(chan struct{}, o.InFlight), days: newDays(o.KnownDays), eras: newEras(o.KnownEntities, o.Now),
	}
	s.current.Store(session)
	s.writers.New = func() any { return newWriter() }
	s.blocks.New = func() any { return new(block) }
	s.figures = newFigures(func() float64 { return float64(len(s.writes) + len(s.others)) })
	if o.Metrics != nil {
		if err := s.figures.register(o.Metrics); err != nil {
			session.Close()
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	probing, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.prober.Go(func() { s.probeOnAndOn(probing) })
	return s, nil
}

// session is the driver's session; renew replaces it.
func (s *Store) session() *gocql.Session { return s.current.Load() }

// enter begins a request; leave ends it. Close waits in between.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.state.RLock()
	defer s.state.RUnlock()
	if s.closed {
		return fmt.Errorf("%w: closed", storage.ErrUnavailable)
	}
	s.users.Add(1)
	return nil
}

func (s *Store) leave() { s.users.Done() }

// Forget drops what the store remembers of entities. Whoever takes on a partition calls it, so that
// nothing another owner did meanwhile is missed; what is asked for again is read again.
func (s *Store) Forget() {
	s.days.forget()
	s.eras.forget()
}

// Close refuses what comes, waits for what is under way and ends the connections.
func (s *Store) Close() error {
	s.state.Lock()
	if s.closed {
		s.state.Unlock()
		return nil
	}
	s.closed = true
	s.state.Unlock()
	s.stop()
	s.prober.Wait()
	s.users.Wait()
	if s.options.Metrics != nil {
		s.figures.unregister(s.options.Metrics)
	}
	s.session().Close()
	return nil
}

// refused says of an error that the same request may succeed later.
func refused(err error) error {
	if errors.Is(err, storage.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}
