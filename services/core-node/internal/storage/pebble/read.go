package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// askEvery is how many rows are read between two looks at whether anyone still waits for them.
const askEvery = 256

// Range yields one series' points. It walks the directory, since devices' times are arbitrary, and
// within each day the series' rows.
func (s *Store) Range(ctx context.Context, e ident.EntityID, key string, within storage.Span, newestFirst bool) iter.Seq2[storage.Point, error] {
	return func(yield func(storage.Point, error) bool) {
		if err := s.enter(ctx); err != nil {
			yield(storage.Point{}, fmt.Errorf("read %q of %v: %w", key, e, err))
			return
		}
		defer s.leave()
		if within.Start >= within.End {
			return
		}
		c := scan{
			ctx: ctx, store: s, entity: e, name: key, within: within, backwards: newestFirst,
			now: s.options.Now().UnixMilli(), yield: func(p storage.Point) bool { return yield(p, nil) },
		}
		if err := c.run(); err != nil {
			yield(storage.Point{}, fmt.Errorf("read %q of %v: %w", key, e, err))
		}
	}
}

// scan is one Range under way.
type scan struct {
	ctx       context.Context
	store     *Store
	entity    ident.EntityID
	name      string
	within    storage.Span
	backwards bool
	now       int64
	yield     func(storage.Point) bool

	read int
	done bool // nobody wants more
}

func (c *scan) run() error {
	directory, err := c.store.iterate(appendEntity(nil, tableDays, c.entity))
	if err != nil {
		return err
	}
	defer directory.Close()
	first, _ := split(c.within.Start)
	last, _ := split(c.within.End - 1)
	prefix := appendEntity(nil, tableDays, c.entity)
	directory.SetBounds(appendDay(slices.Clone(prefix), first), appendDay(slices.Clone(prefix), last+1))
	rows, err := c.store.iterate([]byte{tableHistory})
	if err != nil {
		return err
	}
	defer rows.Close()
	for ok := start(directory, c.backwards); ok && !c.done; ok = step(directory, c.backwards) {
		if len(directory.Key()) != 1+entityBytes+dayBytes {
			return errKey
		}
		if err := c.day(rows, readDay(directory.Key()[1+entityBytes:])); err != nil {
			return err
		}
	}
	return directory.Error()
}

func (c *scan) day(rows *pebble.Iterator, d day) error {
	prefix := appendName(appendDay(appendEntity(nil, tableHistory, c.entity), d), c.name)
	lower, upper := prefix, after(prefix)
	if from, rest := split(c.within.Start); from == d {
		lower = binary.BigEndian.AppendUint32(slices.Clone(prefix), rest)
	}
	if to, rest := split(c.within.End - 1); to == d {
		upper = binary.BigEndian.AppendUint32(slices.Clone(prefix), rest+1)
	}
	rows.SetBounds(lower, upper)
	for ok := start(rows, c.backwards); ok; ok = step(rows, c.backwards) {
		if c.read++; c.read%askEvery == 0 {
			if err := c.ctx.Err(); err != nil {
				return err
			}
		}
		value, err := rows.ValueAndErr()
		if err != nil {
			return err
		}
		point, expiry, err := readPoint(rows.Key(), value)
		if err != nil {
			return err
		}
		if expiry != 0 && expiry <= c.now {
			continue
		}
		if !c.yield(point) {
			c.done = true
			return nil
		}
	}
	return rows.Error()
}

func readPoint(key, value []byte) (p storage.Point, expiry int64, err error) {
	if p.Time, err = readHistory(key); err != nil {
		return p, 0, err
	}
	if len(value) < stampBytes {
		return p, 0, errValue
	}
	p.Value, expiry, err = readValue(value[stampBytes:])
	return p, expiry, err
}

// iterate opens an iterator over what starts with prefix.
func (s *Store) iterate(prefix []byte) (*pebble.Iterator, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, fmt.Errorf("open iterator: %w", err)
	}
	return it, nil
}

func start(it *pebble.Iterator, backwards bool) bool {
	if backwards {
		return it.Last()
	}
	return it.First()
}

func step(it *pebble.Iterator, backwards bool) bool {
	if backwards {
		return it.Prev()
	}
	return it.Next()
}

// Latest returns latest values, sorted by key.
func (s *Store) Latest(ctx context.Context, e ident.EntityID, keys []string) ([]storage.Entry, error) {
	entries, err := s.entries(ctx, appendEntity(nil, tableLatest, e), keys, readLatest)
	if err != nil {
		return nil, fmt.Errorf("read latest values of %v: %w", e, err)
	}
	return entries, nil
}

// Attributes returns attributes of one scope, sorted by key.
func (s *Store) Attributes(ctx context.Context, e ident.EntityID, scope storage.Scope, keys []string) ([]storage.Entry, error) {
	entries, err := s.entries(ctx, append(appendEntity(nil, tableAttributes, e), byte(scope)), keys, readAttribute)
	if err != nil {
		return nil, fmt.Errorf("read attributes of %v: %w", e, err)
	}
	return entries, nil
}

func readLatest(value []byte) (v telemetry.Value, time int64, err error) {
	if len(value) < rankBytes+stampBytes {
		return v, 0, errValue
	}
	v, _, err = readValue(value[rankBytes+stampBytes:])
	return v, unsortable(binary.BigEndian.Uint64(value)), err
}

func readAttribute(value []byte) (v telemetry.Value, time int64, err error) {
	if len(value) < stampBytes+rankBytes {
		return v, 0, errValue
	}
	v, _, err = readValue(value[stampBytes+rankBytes:])
	return v, unsortable(binary.BigEndian.Uint64(value[stampBytes:])), err
}

// entries reads the named rows behind prefix, or all of them.
func (s *Store) entries(ctx context.Context, prefix []byte, keys []string, read func([]byte) (telemetry.Value, int64, error)) ([]storage.Entry, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	if keys == nil {
		return s.allEntries(ctx, prefix, read)
	}
	var entries []storage.Entry
	sorted := slices.Clone(keys)
	slices.Sort(sorted)
	for _, name := range slices.Compact(sorted) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		value, closer, err := s.db.Get(appendName(slices.Clone(prefix), name))
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		v, time, err := read(value)
		if err := errors.Join(err, closer.Close()); err != nil {
			return nil, err
		}
		entries = append(entries, storage.Entry{KeyValue: telemetry.KeyValue{Key: name, Value: v}, Time: time})
	}
	return entries, nil
}

func (s *Store) allEntries(ctx context.Context, prefix []byte, read func([]byte) (telemetry.Value, int64, error)) (entries []storage.Entry, err error) {
	it, err := s.iterate(prefix)
	if err != nil {
		return nil, err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if len(entries)%askEvery == askEvery-1 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		name, _, err := readName(it.Key()[len(prefix):])
		if err != nil {
			return nil, err
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		v, time, err := read(value)
		if err != nil {
			return nil, err
		}
		entries = append(entries, storage.Entry{KeyValue: telemetry.KeyValue{Key: name, Value: v}, Time: time})
	}
	return entries, it.Error()
}
