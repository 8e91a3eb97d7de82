package corenode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/cassandra"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
)

// The backends that Config.Store names.
const (
	storePebble    = "pebble"    // a folder, this node's alone
	storeCassandra = "cassandra" // shared by all core nodes
)

// openStore opens the backend that the settings name.
func (s *Service) openStore(ctx context.Context) (storage.Store, error) {
	switch s.config.Store {
	case storePebble:
		return pebble.Open(pebble.Options{
			Dir: s.config.DataDir, Log: s.env.Log, Metrics: s.env.Metrics,
			CacheBytes: s.config.StoreCacheBytes, MemTableBytes: s.config.StoreMemoryBytes,
			DiskReserve: s.config.StoreReserve, SweepEvery: s.config.StoreSweep,
			Fatal: func(err error) { s.broken <- err },
		})
	case storeCassandra:
		return awaited(ctx, func() (storage.Store, error) { return cassandra.Open(ctx, s.cassandra()) })
	default:
		return nil, fmt.Errorf("--store: there is no backend called %q", s.config.Store)
	}
}

func (s *Service) cassandra() cassandra.Options {
	return cassandra.Options{Settings: s.config.Cassandra, Log: s.env.Log, Metrics: s.env.Metrics}
}

// storePause is between two attempts at a store that is not there yet.
const storePause = 250 * time.Millisecond

// awaited returns what open does once the store can be reached, or its last answer when ctx ends.
func awaited[T any](ctx context.Context, open func() (T, error)) (T, error) {
	for {
		opened, err := open()
		if err == nil || !errors.Is(err, storage.ErrUnavailable) {
			return opened, err
		}
		select {
		case <-ctx.Done():
			return opened, err
		case <-time.After(storePause):
		}
	}
}
