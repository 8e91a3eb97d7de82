package cassandra

import (
	"context"
	"fmt"
	"math"
	"slices"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// A delete removes what is stored, no more: its timestamp is the largest of what it finds. A
// later write has a larger stamp and is seen, whatever the clocks of two nodes say; a replay of what was
// deleted is not.

const (
	newestInRange   = "SELECT max(writetime(v)) FROM history WHERE entity = ? AND day = ? AND name = ? AND at >= ? AND at <= ?"
	deleteRange     = "DELETE FROM history USING TIMESTAMP ? WHERE entity = ? AND day = ? AND name = ? AND at >= ? AND at <= ?"
	newestOfDay     = "SELECT max(writetime(v)) FROM history WHERE entity = ? AND day = ?"
	deleteDay       = "DELETE FROM history USING TIMESTAMP ? WHERE entity = ? AND day = ?"
	newestMark      = "SELECT max(writetime(v)) FROM days WHERE entity = ?"
	deleteMarks     = "DELETE FROM days USING TIMESTAMP ? WHERE entity = ?"
	latestEras      = "SELECT name, era FROM latest WHERE entity = ?"
	latestErasNamed = "SELECT name, era FROM latest WHERE entity = ? AND name IN ?"
	setEra          = "UPDATE eras USING TIMESTAMP ? SET era = ? WHERE entity = ? AND name = ?"
	deleteEras      = "DELETE FROM latest USING TIMESTAMP ? WHERE entity = ? AND name = ? AND era < ?"
	attributeStamps = "SELECT name, writetime(v) FROM attributes WHERE entity = ? AND scope = ? AND name IN ?"
	deleteAttribute = "DELETE FROM attributes USING TIMESTAMP ? WHERE entity = ? AND scope = ? AND name = ?"
	newestAttribute = "SELECT max(writetime(v)) FROM attributes WHERE entity = ?"
	deleteScopes    = "DELETE FROM attributes USING TIMESTAMP ? WHERE entity = ?"
)

// DeleteSeries removes history rows within span. Their days stay in the directory: others' keys are there.
func (s *Store) DeleteSeries(ctx context.Context, e ident.EntityID, keys []string, within storage.Span) error {
	if within.Start >= within.End {
		return nil
	}
	return s.remove(ctx, "delete series of", e, func(ctx context.Context) error {
		entity := appendEntity(nil, e)
		first, firstRest := split(within.Start)
		last, lastRest := split(within.End - 1)
		days, err := s.daysOf(ctx, entity, first, last)
		if err != nil {
			return err
		}
		return s.sideBySide(ctx, len(days)*len(keys), func(ctx context.Context, i int) error {
			day, key := days[i/len(keys)], []byte(keys[i%len(keys)])
			from, to := int32(0), int32(dayMillis-1)
			if day == first {
				from = firstRest
			}
			if day == last {
				to = lastRest
			}
			return s.deleteNewest(ctx, newestInRange, deleteRange, entity, day, key, from, to)
		})
	})
}

// DeleteLatest removes latest values: they get a new era, and those of the eras before are removed
// whatever time they are of.
func (s *Store) DeleteLatest(ctx context.Context, e ident.EntityID, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	return s.remove(ctx, "delete latest values of", e, func(ctx context.Context) error {
		for part := range slices.Chunk(keys, namesPerRead) {
			if err := s.deleteLatest(ctx, e, part); err != nil {
				return err
			}
		}
		return nil
	})
}

// deleteLatest deletes latest values of keys; nil means all.
func (s *Store) deleteLatest(ctx context.Context, e ident.EntityID, keys []string) error {
	entity := appendEntity(nil, e)
	stored, err := s.latestEras(ctx, entity, keys)
	if err != nil || len(stored) == 0 {
		return err
	}
	are, err := s.readEras(ctx, e)
	if err != nil {
		return err
	}
	var begin, remove []gocql.BatchEntry
	newest := int64(0)
	for name, era := range stored {
		next := max(era, are.of(name)) + 1
		newest = max(newest, next)
		if keys != nil {
			begin = append(begin, entry(setEra, next, next, entity, []byte(name)))
		}
		remove = append(remove, entry(deleteEras, int64(overAll), entity, []byte(name), next))
	}
	if keys == nil { // one row of eras stands for all names
		begin = append(begin, entry(setEra, newest, newest, entity, []byte(allNames)))
	}
	if err := s.batches(ctx, begin); err != nil {
		return err
	}
	s.eras.drop(e) // what was read before goes on in the old eras, as if before the delete
	return s.batches(ctx, remove)
}

// latestEras returns the last era of each name of which there is a latest value.
func (s *Store) latestEras(ctx context.Context, entity []byte, keys []string) (map[string]int64, error) {
	stored := map[string]int64{}
	statement, args := latestEras, []any{entity}
	if keys != nil {
		statement, args = latestErasNamed, append(args, names(keys))
	}
	err := s.rows(ctx, func(scan func(...any) bool) bool {
		var name []byte
		var era int64
		if !scan(&name, &era) {
			return false
		}
		stored[string(name)] = era
		return true
	}, statement, args...)
	return stored, err
}

// DeleteAttributes removes attributes.
func (s *Store) DeleteAttributes(ctx context.Context, e ident.EntityID, scope storage.Scope, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	return s.remove(ctx, "delete attributes of", e, func(ctx context.Context) error {
		for part := range slices.Chunk(keys, namesPerRead) {
			if err := s.deleteAttributes(ctx, e, scope, part); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) deleteAttributes(ctx context.Context, e ident.EntityID, scope storage.Scope, keys []string) error {
	entity := appendEntity(nil, e)
	var gone []gocql.BatchEntry
	err := s.rows(ctx, func(scan func(...any) bool) bool {
		var name []byte
		var stamp int64
		if !scan(&name, &stamp) {
			return false
		}
		gone = append(gone, entry(deleteAttribute, stamp, entity, int8(scope), name))
		return true
	}, attributeStamps, entity, int8(scope), names(keys))
	if err != nil {
		return err
	}
	return s.batches(ctx, gone)
}

// DeleteEntity removes all values of an entity.
func (s *Store) DeleteEntity(ctx context.Context, e ident.EntityID) error {
	return s.remove(ctx, "delete values of", e, func(ctx context.Context) error {
		entity := appendEntity(nil, e)
		days, err := s.daysOf(ctx, entity, math.MinInt64, math.MaxInt64)
		if err != nil {
			return err
		}
		err = s.sideBySide(ctx, len(days), func(ctx context.Context, i int) error {
			return s.deleteNewest(ctx, newestOfDay, deleteDay, entity, days[i])
		})
		if err != nil {
			return err
		}
		if err := s.deleteLatest(ctx, e, nil); err != nil {
			return err
		}
		if err := s.deleteNewest(ctx, newestAttribute, deleteScopes, entity); err != nil {
			return err
		}
		// Last: what a kill leaves of the rows can still be found.
		s.days.forget()
		return s.deleteNewest(ctx, newestMark, deleteMarks, entity)
	})
}

func (s *Store) remove(ctx context.Context, doing string, e ident.EntityID, run func(context.Context) error) error {
	err := s.enter(ctx)
	if err == nil {
		defer s.leave()
		err = run(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s %v: %w", doing, e, err)
	}
	return nil
}

// daysOf returns the days of the directory from first to last, each once.
func (s *Store) daysOf(ctx context.Context, entity []byte, first, last int64) (days []int64, err error) {
	p := pages{store: s, statement: daysForwards, args: []any{entity, first, last}}
	for more := true; more; {
		more, err = p.next(ctx, daysPage, func(scan func(...any) bool) bool {
			var day, until int64
			if !scan(&day, &until) {
				return false
			}
			if len(days) == 0 || days[len(days)-1] != day {
				days = append(days, day)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return days, nil
}

// deleteNewest deletes where args say, up to the newest timestamp found there.
func (s *Store) deleteNewest(ctx context.Context, newest, statement string, args ...any) error {
	var stamp *int64
	err := s.request(ctx, reading, func(ctx context.Context) error {
		return s.query(newest, args...).ScanContext(ctx, &stamp)
	})
	if err != nil || stamp == nil {
		return err
	}
	return s.request(ctx, deleting, func(ctx context.Context) error {
		return s.query(statement, append([]any{*stamp}, args...)...).ExecContext(ctx)
	})
}

func entry(statement string, args ...any) gocql.BatchEntry {
	return gocql.BatchEntry{Stmt: statement, Args: args, Idempotent: true}
}

// batches sends changes of one partition.
func (s *Store) batches(ctx context.Context, entries []gocql.BatchEntry) error {
	for part := range slices.Chunk(entries, namesPerRead) {
		err := s.request(ctx, deleting, func(ctx context.Context) error {
			b := s.session().Batch(gocql.UnloggedBatch).Consistency(s.consistency).RetryPolicy(again{s.figures})
			b.Entries = part
			return b.ExecContext(ctx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
