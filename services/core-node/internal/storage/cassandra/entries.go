package cassandra

import (
	"context"
	"fmt"
	"slices"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

const (
	latestAll       = "SELECT name, era, v FROM latest WHERE entity = ?"
	latestNamed     = "SELECT name, era, v FROM latest WHERE entity = ? AND name IN ?"
	attributesAll   = "SELECT name, v FROM attributes WHERE entity = ? AND scope = ?"
	attributesNamed = "SELECT name, v FROM attributes WHERE entity = ? AND scope = ? AND name IN ?"
)

// namesPerRead bounds one read of named rows.
const namesPerRead = 100

// Latest returns latest values, sorted by key. Of a name with values of several eras, which are being
// removed, the last era's counts.
func (s *Store) Latest(ctx context.Context, e ident.EntityID, keys []string) ([]storage.Entry, error) {
	var entries []storage.Entry
	read := func(scan func(...any) bool) (bool, error) {
		var name, v []byte
		var era int64
		if !scan(&name, &era, &v) {
			return false, nil
		}
		value, time, err := readLatest(v)
		if err != nil {
			return false, err
		}
		entry := storage.Entry{KeyValue: telemetry.KeyValue{Key: string(name), Value: value}, Time: time}
		if last := len(entries) - 1; last >= 0 && entries[last].Key == entry.Key {
			entries[last] = entry // rows of a name come in order of era
		} else {
			entries = append(entries, entry)
		}
		return true, nil
	}
	err := s.entries(ctx, keys, read, latestAll, latestNamed, appendEntity(nil, e))
	if err != nil {
		return nil, fmt.Errorf("read latest values of %v: %w", e, err)
	}
	return entries, nil
}

// Attributes returns attributes of one scope, sorted by key.
func (s *Store) Attributes(ctx context.Context, e ident.EntityID, scope storage.Scope, keys []string) ([]storage.Entry, error) {
	var entries []storage.Entry
	read := func(scan func(...any) bool) (bool, error) {
		var name, v []byte
		if !scan(&name, &v) {
			return false, nil
		}
		value, time, err := readAttribute(v)
		entries = append(entries, storage.Entry{KeyValue: telemetry.KeyValue{Key: string(name), Value: value}, Time: time})
		return err == nil, err
	}
	err := s.entries(ctx, keys, read, attributesAll, attributesNamed, appendEntity(nil, e), int8(scope))
	if err != nil {
		return nil, fmt.Errorf("read attributes of %v: %w", e, err)
	}
	return entries, nil
}

// entries reads the named rows of a partition in order of name, or all of them.
func (s *Store) entries(ctx context.Context, keys []string, read func(func(...any) bool) (bool, error), all, named string, args ...any) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if keys == nil {
		return s.entryPages(ctx, read, all, args)
	}
	for part := range slices.Chunk(names(keys), namesPerRead) {
		if err := s.entryPages(ctx, read, named, append(slices.Clone(args), part)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) entryPages(ctx context.Context, read func(func(...any) bool) (bool, error), statement string, args []any) error {
	p := pages{store: s, statement: statement, args: args}
	size := pageSize{cap: s.options.ReadBytes, last: firstPage}
	for {
		var broken error
		more, err := p.next(ctx, size.rows(), func(scan func(...any) bool) (on bool) {
			on, broken = read(scan)
			size.saw(0)
			return on
		})
		if err != nil {
			return err
		}
		if broken != nil || !more {
			return broken
		}
	}
}

// names returns keys in order, each once.
func names(keys []string) [][]byte {
	sorted := slices.Clone(keys)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	found := make([][]byte, len(sorted))
	for i, key := range sorted {
		found[i] = []byte(key)
	}
	return found
}
