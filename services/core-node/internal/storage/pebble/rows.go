package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// A row's value is its expiry (8 bytes, 0: none) and its body. What expires has an entry in the
// table of expiries, by which the sweep finds it.

func groupKey(group string) []byte { return appendName([]byte{tableRows}, group) }

// ChangeRows puts and removes rows in one synced commit.
func (s *Store) ChangeRows(ctx context.Context, group string, put []storage.Row, remove [][]byte, ttl time.Duration) error {
	err := storage.CheckRows(group, put, remove, ttl)
	if err == nil && len(put) > 0 {
		err = s.room()
	}
	if err == nil {
		// A row put again must not go by the word of an expiry that the sweep has just looked up.
		s.sweeping.RLock()
		defer s.sweeping.RUnlock()
		err = s.change(ctx, func(b *pebble.Batch) error { return s.fillRows(b, groupKey(group), put, remove, ttl) })
	}
	if err != nil {
		return fmt.Errorf("change rows of %q: %w", group, err)
	}
	return nil
}

func (s *Store) fillRows(b *pebble.Batch, prefix []byte, put []storage.Row, remove [][]byte, ttl time.Duration) error {
	for _, key := range remove {
		if err := b.Delete(append(slices.Clone(prefix), key...), nil); err != nil {
			return err
		}
	}
	expiry := int64(0)
	if ttl > 0 {
		if expiry = s.options.Now().UnixMilli() + max(ttl.Milliseconds(), 1); expiry < 0 {
			expiry = 0 // beyond all time: kept
		}
	}
	for _, row := range put {
		key := append(slices.Clone(prefix), row.Key...)
		value := append(binary.BigEndian.AppendUint64(make([]byte, 0, expiryBytes+len(row.Body)), uint64(expiry)), row.Body...)
		if err := b.Set(key, value, nil); err != nil {
			return err
		}
		if expiry == 0 {
			continue
		}
		if err := b.Set(append(binary.BigEndian.AppendUint64([]byte{tableRowExpiry}, uint64(expiry)), key...), nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// ScanRows yields rows in order of key.
func (s *Store) ScanRows(ctx context.Context, group string, from, to []byte, newestFirst bool) iter.Seq2[storage.Row, error] {
	return func(yield func(storage.Row, error) bool) {
		err := s.enter(ctx)
		if err == nil {
			defer s.leave()
			err = s.scanRows(ctx, groupKey(group), from, to, newestFirst, func(r storage.Row) bool { return yield(r, nil) })
		}
		if err != nil {
			yield(storage.Row{}, fmt.Errorf("read rows of %q: %w", group, err))
		}
	}
}

func (s *Store) scanRows(ctx context.Context, prefix, from, to []byte, newestFirst bool, yield func(storage.Row) bool) error {
	lower, upper := append(slices.Clone(prefix), from...), after(prefix)
	if to != nil {
		upper = append(slices.Clone(prefix), to...)
	}
	if bytes.Compare(lower, upper) >= 0 {
		return nil
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("open iterator: %w", err)
	}
	defer it.Close()
	now := s.options.Now().UnixMilli()
	read := 0
	for ok := start(it, newestFirst); ok; ok = step(it, newestFirst) {
		if read++; read%askEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		expiry, body, err := readRow(value)
		if err != nil {
			return err
		}
		if expiry != 0 && expiry <= now {
			continue
		}
		if !yield(storage.Row{Key: bytes.Clone(it.Key()[len(prefix):]), Body: append([]byte{}, body...)}) {
			return nil
		}
	}
	return it.Error()
}

func readRow(value []byte) (expiry int64, body []byte, err error) {
	if len(value) < expiryBytes {
		return 0, nil, errValue
	}
	return int64(binary.BigEndian.Uint64(value)), value[expiryBytes:], nil
}

// DeleteRows removes a whole group.
func (s *Store) DeleteRows(ctx context.Context, group string) error {
	err := storage.CheckRows(group, nil, nil, 0)
	if err == nil {
		prefix := groupKey(group)
		err = s.change(ctx, func(b *pebble.Batch) error { return b.DeleteRange(prefix, after(prefix), nil) })
	}
	if err != nil {
		return fmt.Errorf("delete rows of %q: %w", group, err)
	}
	return nil
}

// sweptAtOnce is how many rows are removed while no row can be written.
const sweptAtOnce = 1000

// sweepRows removes the rows that have expired. A sweep cut off by a kill is done again.
func (s *Store) sweepRows(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	now := s.options.Now().UnixMilli()
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if more, err = s.sweepSomeRows(now); err != nil {
			return fmt.Errorf("sweep rows: %w", err)
		}
	}
	return nil
}

func (s *Store) sweepSomeRows(now int64) (more bool, err error) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	upper := binary.BigEndian.AppendUint64([]byte{tableRowExpiry}, uint64(now)+1)
	due, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableRowExpiry}, UpperBound: upper})
	if err != nil {
		return false, fmt.Errorf("open iterator: %w", err)
	}
	defer due.Close()
	b := s.db.NewBatch()
	defer b.Close()
	n := 0
	for ok := due.First(); ok && n < sweptAtOnce; ok = due.Next() {
		n++
		if err := s.sweepRow(b, due.Key(), now); err != nil {
			return false, err
		}
	}
	if err := due.Error(); err != nil || n == 0 {
		return false, err
	}
	return n == sweptAtOnce, b.Commit(pebble.NoSync)
}

// sweepRow removes the row an entry is about, unless it was put again to live longer.
func (s *Store) sweepRow(b *pebble.Batch, entry []byte, now int64) error {
	if len(entry) < 1+expiryBytes {
		return errKey
	}
	if err := b.Delete(entry, nil); err != nil {
		return err
	}
	key := entry[1+expiryBytes:]
	value, err := get(s.db, key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	expiry, _, err := readRow(value)
	if err != nil {
		return err
	}
	if expiry == 0 || expiry > now {
		return nil
	}
	return b.Delete(key, nil)
}
