// Package pebble is the embedded store: storage.Store on a Pebble database in one folder.
package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Options say where the store is and what it may take. Zero fields have a default that works.
type Options struct {
	Dir string
	FS  vfs.FS           // nil: the operating system's
	Now func() time.Time // decides what has expired; nil: time.Now
	Log *slog.Logger     // nil: none

	CacheBytes    int64 // of blocks read; default 8 MiB
	MemTableBytes int   // of writes not yet in a table, per table in memory; default 8 MiB
	OpenFiles     int   // default 500
	// DiskReserve is how much disk stays free: below it Write refuses. Default 256 MB; negative: none.
	DiskReserve int64
	// MaxValueBytes bounds one text or JSON value. Default 1 MiB.
	MaxValueBytes int
	// KnownDays bounds how many days of entities are remembered as being in the directory. Default 32768.
	KnownDays int
	// SweepEvery is how often expired days are looked for. Default 10 minutes.
	SweepEvery time.Duration
	// Fatal is told, at most once, that the store cannot go on (the disk is full or broken) and
	// the process has to be started again. From then on every request is refused. It must not block.
	Fatal func(error)
	// Metrics is where the store's figures are registered; nil: nowhere.
	Metrics prometheus.Registerer
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 8 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 8 << 20
	}
	if o.OpenFiles == 0 {
		o.OpenFiles = 500
	}
	if o.DiskReserve == 0 {
		o.DiskReserve = 256 << 20
	}
	if o.MaxValueBytes == 0 {
		o.MaxValueBytes = 1 << 20
	}
	if o.KnownDays == 0 {
		o.KnownDays = 32 << 10
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = 10 * time.Minute
	}
	return o
}

// Store is an open database. It implements storage.Store.
type Store struct {
	options Options
	db      *pebble.DB
	figures *figures
	days    *days
	writers sync.Pool // of *writer

	// sweeping keeps writes out while days are removed: a row must not be written on the word of
	// a directory entry that is going away.
	sweeping sync.RWMutex
	// documents makes the check and the write of a document one step.
	documents sync.Mutex

	state   sync.RWMutex // of closed
	closed  bool
	users   sync.WaitGroup // requests under way
	failure atomic.Pointer[error]
	stop    context.CancelFunc
	sweeper sync.WaitGroup
}

var _ storage.Store = (*Store)(nil)

// Open opens the database in o.Dir, making it when there is none. A folder that another process
// has open, or that is damaged, is an error which says so.
func Open(o Options) (*Store, error) {
	o = o.withDefaults()
	s := &Store{options: o, days: newDays(o.KnownDays)}
	s.writers.New = func() any { return newWriter() }
	// A block cache belongs to whoever made it; the database takes a reference of its own.
	cache := pebble.NewCache(o.CacheBytes)
	defer cache.Unref()
	db, err := pebble.Open(o.Dir, s.engineOptions(cache))
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return nil, fmt.Errorf("open store %s: another process has it open: %w", o.Dir, err)
	case pebble.IsCorruptionError(err):
		return nil, fmt.Errorf("open store %s: it is damaged: %w", o.Dir, err)
	case err != nil:
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	s.db = db
	s.figures = newFigures(db)
	if o.Metrics != nil {
		if err := o.Metrics.Register(s.figures); err != nil {
			return nil, errors.Join(fmt.Errorf("register the store's figures: %w", err), db.Close())
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.sweeper.Go(func() { s.sweepOnAndOn(ctx) })
	return s, nil
}

func (s *Store) engineOptions(cache *pebble.Cache) *pebble.Options {
	return &pebble.Options{
		FS:     s.options.FS,
		Cache:  cache,
		Merger: merger(),
		// Stated, so that a newer library does not change the files of an older one unasked.
		FormatMajorVersion: pebble.FormatTableFormatV6,
		MaxOpenFiles:       s.options.OpenFiles,
		MemTableSize:       uint64(s.options.MemTableBytes),
		// A burst is let through while compaction catches up, instead of stopping writes for it.
		L0CompactionThreshold: 4,
		L0StopWritesThreshold: 64,
		Logger:                engineLog{s},
		EventListener:         s.listener(),
	}
}

// enter begins a request; leave ends it. Close waits in between.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if failure := s.failure.Load(); failure != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, *failure)
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

// Ready returns nil, or why the store takes no writes now.
func (s *Store) Ready() error {
	if failure := s.failure.Load(); failure != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, *failure)
	}
	return s.room()
}

// room refuses when there is less disk left than is to stay free.
func (s *Store) room() error {
	if s.options.DiskReserve < 0 {
		return nil
	}
	usage, err := s.options.FS.GetDiskUsage(s.options.Dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil // a file system in memory
	}
	if err != nil {
		return fmt.Errorf("%w: look how much disk is free: %w", storage.ErrUnavailable, err)
	}
	if usage.AvailBytes < uint64(s.options.DiskReserve) {
		return fmt.Errorf("%w: %d MB of disk free, less than the %d MB to be kept", storage.ErrUnavailable,
			usage.AvailBytes>>20, s.options.DiskReserve>>20)
	}
	return nil
}

// Close refuses what comes, waits for what is under way and closes the database.
func (s *Store) Close() error {
	s.state.Lock()
	if s.closed {
		s.state.Unlock()
		return nil
	}
	s.closed = true
	s.state.Unlock()
	if s.options.Metrics != nil {
		s.options.Metrics.Unregister(s.figures)
	}
	s.stop()
	s.sweeper.Wait()
	if s.failure.Load() != nil {
		return nil // what is under way may never end, and the files are as a kill would leave them
	}
	s.users.Wait()
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// fail ends the store's service for good.
func (s *Store) fail(err error) {
	if s.failure.CompareAndSwap(nil, &err) && s.options.Fatal != nil {
		s.options.Fatal(err)
	}
}

// refused says of an engine's error that the same request may succeed later.
func refused(doing string, err error) error {
	return fmt.Errorf("%s: %w: %w", doing, storage.ErrUnavailable, err)
}
