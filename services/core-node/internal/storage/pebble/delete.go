package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// DeleteSeries removes history rows within span. Their days stay in the directory: others' keys are there.
func (s *Store) DeleteSeries(ctx context.Context, e ident.EntityID, keys []string, within storage.Span) error {
	if within.Start >= within.End {
		return nil
	}
	err := s.change(ctx, func(b *pebble.Batch) error {
		prefix := appendEntity(nil, tableDays, e)
		first, firstRest := split(within.Start)
		last, lastRest := split(within.End - 1)
		directory, err := s.iterate(prefix)
		if err != nil {
			return err
		}
		defer directory.Close()
		directory.SetBounds(appendDay(slices.Clone(prefix), first), appendDay(slices.Clone(prefix), last+1))
		for ok := directory.First(); ok; ok = directory.Next() {
			d := readDay(directory.Key()[1+entityBytes:])
			for _, key := range keys {
				series := appendName(appendDay(appendEntity(nil, tableHistory, e), d), key)
				lower, upper := series, after(series)
				if d == first {
					lower = binary.BigEndian.AppendUint32(slices.Clone(series), firstRest)
				}
				if d == last {
					upper = binary.BigEndian.AppendUint32(slices.Clone(series), lastRest+1)
				}
				if err := b.DeleteRange(lower, upper, nil); err != nil {
					return err
				}
			}
		}
		return directory.Error()
	})
	return wrap("delete series of", e, err)
}

// DeleteLatest removes latest values.
func (s *Store) DeleteLatest(ctx context.Context, e ident.EntityID, keys []string) error {
	err := s.change(ctx, func(b *pebble.Batch) error {
		for _, key := range keys {
			if err := b.Delete(appendLatest(nil, e, key), nil); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("delete latest values of", e, err)
}

// DeleteAttributes removes attributes.
func (s *Store) DeleteAttributes(ctx context.Context, e ident.EntityID, scope storage.Scope, keys []string) error {
	err := s.change(ctx, func(b *pebble.Batch) error {
		for _, key := range keys {
			if err := b.Delete(appendAttribute(nil, e, scope, key), nil); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("delete attributes of", e, err)
}

// DeleteEntity removes all values of an entity.
func (s *Store) DeleteEntity(ctx context.Context, e ident.EntityID) error {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	s.days.forget()
	err := s.change(ctx, func(b *pebble.Batch) error {
		for _, table := range []byte{tableHistory, tableDays, tableLatest, tableAttributes} {
			prefix := appendEntity(nil, table, e)
			if err := b.DeleteRange(prefix, after(prefix), nil); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("delete values of", e, err)
}

// change commits, synced, what fill puts into a batch.
func (s *Store) change(ctx context.Context, fill func(*pebble.Batch) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	b := s.db.NewBatch()
	defer b.Close()
	if err := fill(b); err != nil {
		return err
	}
	if b.Empty() {
		return nil
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return refused("commit", err)
	}
	return nil
}

func wrap(doing string, e ident.EntityID, err error) error {
	if err != nil {
		return fmt.Errorf("%s %v: %w", doing, e, err)
	}
	return nil
}

func (s *Store) sweepOnAndOn(ctx context.Context) {
	ticker := time.NewTicker(s.options.SweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := errors.Join(s.sweep(ctx), s.sweepRows(ctx)); err != nil && ctx.Err() == nil {
				s.options.Log.Warn("expired rows could not be removed; the next sweep tries again", "err", err)
			}
		}
	}
}

// sweep removes the days whose rows have all expired. A sweep cut off by a kill is done again: the
// removals need not be synced.
func (s *Store) sweep(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	now := s.options.Now().UnixMilli()
	due, err := s.iterate([]byte{tableExpiry})
	if err != nil {
		return err
	}
	defer due.Close()
	due.SetBounds([]byte{tableExpiry}, binary.BigEndian.AppendUint64([]byte{tableExpiry}, uint64(now)))
	for ok := due.First(); ok; ok = due.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.sweepDay(slices.Clone(due.Key()), now); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return due.Error()
}

// sweepDay removes the day that entry is about, unless rows of it were found to live longer since.
func (s *Store) sweepDay(entry []byte, now int64) error {
	_, e, d, err := readExpiry(entry)
	if err != nil {
		return err
	}
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	b := s.db.NewBatch()
	defer b.Close()
	if err := b.Delete(entry, nil); err != nil {
		return err
	}
	expiry, err := s.dayExpiry(e, d)
	if err != nil {
		return err
	}
	if expiry <= now {
		s.days.forget()
		rows := appendDay(appendEntity(nil, tableHistory, e), d)
		if err := b.DeleteRange(rows, after(rows), nil); err != nil {
			return err
		}
		if err := b.Delete(appendDay(appendEntity(nil, tableDays, e), d), nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.NoSync)
}

// dayExpiry returns what the directory knows of a day; never when it is not there.
func (s *Store) dayExpiry(e ident.EntityID, d day) (int64, error) {
	value, closer, err := s.db.Get(appendDay(appendEntity(nil, tableDays, e), d))
	if errors.Is(err, pebble.ErrNotFound) {
		return never, nil
	}
	if err != nil {
		return 0, err
	}
	if len(value) != expiryBytes {
		return 0, errors.Join(errValue, closer.Close())
	}
	return int64(binary.BigEndian.Uint64(value)), closer.Close()
}
