package cassandra

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// probeEvery is how often a row is written to see whether rows can be.
const probeEvery = time.Second

// probes is how many partitions the probes go round, so that they ask more nodes than one.
const probes = 64

const probeStatement = "UPDATE probe USING TTL 3600 SET at = ? WHERE id = ?"

// Ready returns nil, or why the store takes no writes now, as the last probe found it.
func (s *Store) Ready() error {
	if failure := s.failure.Load(); failure != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, *failure)
	}
	return nil
}

func (s *Store) probeOnAndOn(ctx context.Context) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	since := time.Now() // when Cassandra was last there
	for n := int32(0); ; n = (n + 1) % probes {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.probe(ctx, n)
		}
		switch failing := s.failure.Load() != nil; {
		case !failing:
			since = time.Now()
		case time.Since(since) > s.options.renewAfter:
			s.renew(ctx)
			since = time.Now()
		}
	}
}

// probe writes a row as acknowledged writes are written.
func (s *Store) probe(ctx context.Context, id int32) {
	err := s.run(ctx, writing, func(ctx context.Context) error {
		return s.query(probeStatement, time.Now().UnixMilli(), id).ExecContext(ctx)
	})
	if ctx.Err() != nil {
		return
	}
	was := s.failure.Load()
	if err == nil {
		s.failure.Store(nil)
	} else {
		s.failure.Store(&err)
	}
	switch {
	case err != nil && was == nil:
		s.options.Log.Warn("Cassandra takes no writes; it is asked again every second", "err", err)
	case err == nil && was != nil:
		s.options.Log.Info("Cassandra takes writes again")
	}
}

// renew connects anew: the driver looks for nodes where they were, and they may be elsewhere
// by now under the same names.
func (s *Store) renew(ctx context.Context) {
	session, err := connect(ctx, s.options, s.options.Keyspace)
	if err != nil {
		return // the next probes say so, and try again
	}
	s.current.Swap(session).Close()
}
