package pebble_test

import (
	"iter"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o pebble.Options) *pebble.Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = "store"
	}
	s, err := pebble.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func backend() storagetest.Backend {
	return storagetest.Backend{
		Open: func(t *testing.T, now func() time.Time) storage.Store {
			return open(t, pebble.Options{FS: vfs.NewMem(), Now: now, MemTableBytes: 1 << 20})
		},
		Killed: killed,
	}
}

// killed takes what a crash would leave after every operation on the file system that do causes,
// once with all that was not synced lost and once with half of it.
func killed(t *testing.T, prepare, do func(storage.Store)) iter.Seq[storage.Store] {
	return func(yield func(storage.Store) bool) {
		disk := &crashing{MemFS: vfs.NewCrashableMem()}
		s := open(t, pebble.Options{FS: disk})
		prepare(s)
		disk.watch(true)
		do(s)
		disk.watch(false)
		for _, left := range append(disk.left, disk.CrashClone(vfs.CrashCloneCfg{})) {
			if !yield(open(t, pebble.Options{FS: left})) {
				return
			}
		}
	}
}

func TestTelemetry(t *testing.T) { storagetest.Telemetry(t, backend()) }

func TestEntities(t *testing.T) { storagetest.Entities(t, backend()) }

func TestRows(t *testing.T) { storagetest.Rows(t, backend()) }
