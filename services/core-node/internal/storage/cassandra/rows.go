package cassandra

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

const (
	putRow        = "UPDATE rows USING TIMESTAMP ? SET v = ? WHERE grp = ? AND key = ?"
	putPassingRow = "UPDATE rows USING TTL ? AND TIMESTAMP ? SET v = ? WHERE grp = ? AND key = ?"
	removeRow     = "DELETE FROM rows USING TIMESTAMP ? WHERE grp = ? AND key = ?"
	newestRow     = "SELECT max(writetime(v)) FROM rows WHERE grp = ?"
	deleteRows    = "DELETE FROM rows USING TIMESTAMP ? WHERE grp = ?"
)

// selectRows are the statements of a scan, by whether it has an end and whether it goes backwards.
var selectRows = map[bool]map[bool]string{
	false: {
		false: "SELECT key, v FROM rows WHERE grp = ? AND key >= ? ORDER BY key ASC",
		true:  "SELECT key, v FROM rows WHERE grp = ? AND key >= ? ORDER BY key DESC",
	},
	true: {
		false: "SELECT key, v FROM rows WHERE grp = ? AND key >= ? AND key < ? ORDER BY key ASC",
		true:  "SELECT key, v FROM rows WHERE grp = ? AND key >= ? AND key < ? ORDER BY key DESC",
	},
}

// nextStamp returns a timestamp (µs) for a change of rows, above all that this process gave before: its changes
// apply in their order whatever the clock does. Between nodes their clocks decide.
func (s *Store) nextStamp() int64 {
	for {
		last := s.lastStamp.Load()
		next := max(time.Now().UnixMicro(), last+1)
		if s.lastStamp.CompareAndSwap(last, next) {
			return next
		}
	}
}

// ChangeRows puts and removes rows of one partition: one mutation, which Cassandra applies whole.
func (s *Store) ChangeRows(ctx context.Context, group string, put []storage.Row, remove [][]byte, ttl time.Duration) error {
	err := storage.CheckRows(group, put, remove, ttl)
	if err == nil {
		err = s.changeRows(ctx, []byte(group), put, remove, ttl)
	}
	if err != nil {
		return fmt.Errorf("change rows of %q: %w", group, err)
	}
	return nil
}

func (s *Store) changeRows(ctx context.Context, group []byte, put []storage.Row, remove [][]byte, ttl time.Duration) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	stamp := s.nextStamp()
	expiry, keep := int64(0), int32(0)
	if ttl > 0 {
		now := s.options.Now().UnixMilli()
		if expiry = now + max(ttl.Milliseconds(), 1); expiry < 0 {
			expiry = 0 // beyond all time: kept
		} else {
			keep = life(expiry - now)
		}
	}
	stays := make(map[string]int, len(put)) // → the last row put under a key
	for i, row := range put {
		stays[string(row.Key)] = i
	}
	var entries []gocql.BatchEntry
	for i, row := range put {
		if stays[string(row.Key)] != i {
			continue
		}
		v := append(binary.BigEndian.AppendUint64(make([]byte, 0, timeBytes+len(row.Body)), uint64(expiry)), row.Body...)
		if keep > 0 {
			entries = append(entries, entry(putPassingRow, keep, stamp, v, group, row.Key))
		} else {
			entries = append(entries, entry(putRow, stamp, v, group, row.Key))
		}
	}
	for _, key := range remove {
		if _, put := stays[string(key)]; !put { // at one timestamp a removal would win
			entries = append(entries, entry(removeRow, stamp, group, key))
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return s.request(ctx, writing, func(ctx context.Context) error {
		b := s.session().Batch(gocql.UnloggedBatch).Consistency(s.consistency).RetryPolicy(again{s.figures})
		b.Entries = entries
		return b.ExecContext(ctx)
	})
}

// ScanRows yields rows in order of key, page by page.
func (s *Store) ScanRows(ctx context.Context, group string, from, to []byte, newestFirst bool) iter.Seq2[storage.Row, error] {
	return func(yield func(storage.Row, error) bool) {
		err := s.enter(ctx)
		if err == nil {
			defer s.leave()
			err = s.scanRows(ctx, group, from, to, newestFirst, func(r storage.Row) bool { return yield(r, nil) })
		}
		if err != nil {
			yield(storage.Row{}, fmt.Errorf("read rows of %q: %w", group, err))
		}
	}
}

func (s *Store) scanRows(ctx context.Context, group string, from, to []byte, newestFirst bool, yield func(storage.Row) bool) error {
	if from == nil {
		from = []byte{}
	}
	p := pages{store: s, statement: selectRows[to != nil][newestFirst], args: []any{[]byte(group), from}}
	if to != nil {
		p.args = append(p.args, to)
	}
	now := s.options.Now().UnixMilli()
	size := pageSize{cap: s.options.ReadBytes}
	for more := true; more; {
		var page []storage.Row
		var broken error
		var err error
		more, err = p.next(ctx, size.rows(), func(scan func(...any) bool) bool {
			var key, v []byte
			if !scan(&key, &v) {
				return false
			}
			if len(v) < timeBytes {
				broken = errValue
				return false
			}
			size.saw(len(key) + len(v))
			if expiry := int64(binary.BigEndian.Uint64(v)); expiry == 0 || expiry > now {
				page = append(page, storage.Row{Key: key, Body: v[timeBytes:]})
			}
			return true
		})
		if err == nil {
			err = broken
		}
		if err != nil {
			return err
		}
		for _, row := range page {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !yield(row) {
				return nil
			}
		}
	}
	return nil
}

// DeleteRows removes a whole group: what is stored of it, up to the newest timestamp found.
func (s *Store) DeleteRows(ctx context.Context, group string) error {
	err := storage.CheckRows(group, nil, nil, 0)
	if err == nil {
		if err = s.enter(ctx); err == nil {
			defer s.leave()
			err = s.deleteNewest(ctx, newestRow, deleteRows, []byte(group))
		}
	}
	if err != nil {
		return fmt.Errorf("delete rows of %q: %w", group, err)
	}
	return nil
}
