//go:build fleet

package cassandra

import (
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/storagetest"
)

var errKilled = errors.New("killed")

func TestEntities(t *testing.T) {
	b := backend()
	b.Open = func(t *testing.T, now func() time.Time) storage.Store {
		s := open(t, now)
		empty(t, s)
		return s
	}
	storagetest.Entities(t, b)
}

// empty removes all documents: their claims are the same in every test.
func empty(t *testing.T, s *Store) {
	t.Helper()
	for _, table := range []string{"documents", "claims", "list"} {
		if err := s.session().Query("TRUNCATE " + table).ExecContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// killed runs do in a store that is killed before its first request, its second, and so on, and yields
// what another store finds when what was left has come of age.
func killed(t *testing.T, prepare, do func(storage.Store)) iter.Seq[storage.Store] {
	return func(yield func(storage.Store) bool) {
		after := open(t, func() time.Time { return time.Now().Add(claimAge + time.Second) })
		for at := 1; ; at++ {
			empty(t, after)
			s := open(t, time.Now)
			prepare(s)
			steps := 0
			s.before = func() error {
				if steps++; steps >= at {
					return errKilled
				}
				return nil
			}
			do(s)
			if !yield(after) || steps < at {
				return
			}
		}
	}
}
