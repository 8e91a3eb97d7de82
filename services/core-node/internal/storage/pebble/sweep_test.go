package pebble

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/storagetest"
)

func openSwept(t *testing.T, clock *storagetest.Clock) *Store {
	t.Helper()
	s, err := Open(Options{Dir: "store", FS: vfs.NewMem(), Now: clock.Now})
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

// rows counts what is stored in a table, visible or not.
func rows(t *testing.T, s *Store, table byte) (n int) {
	t.Helper()
	it, err := s.iterate([]byte{table})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n
}

func put(t *testing.T, s *Store, e ident.EntityID, at int64, ttl time.Duration) {
	t.Helper()
	err := s.Write(t.Context(), []storage.Write{{
		Entity: e, Time: at, Stamp: at, TTL: ttl,
		Values: []telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(at)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func sweep(t *testing.T, s *Store) {
	t.Helper()
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSweepRemovesExpiredDays(t *testing.T) {
	clock := storagetest.NewClock()
	s := openSwept(t, clock)
	short, long, kept := ident.EntityID{Type: ident.Device, ID: ident.New()}, ident.EntityID{Type: ident.Device, ID: ident.New()}, ident.EntityID{Type: ident.Device, ID: ident.New()}
	for i := range int64(10) {
		put(t, s, short, i, time.Hour)
		put(t, s, long, i*dayMillis, 24*time.Hour)
		put(t, s, kept, i, time.Hour)
	}
	put(t, s, kept, 11, 0)
	if days, history := rows(t, s, tableDays), rows(t, s, tableHistory); days != 12 || history != 31 {
		t.Fatalf("%d days and %d rows, want 12 and 31", days, history)
	}
	sweep(t, s)
	if n := rows(t, s, tableHistory); n != 31 {
		t.Fatalf("%d rows before anything expired, want 31", n)
	}
	clock.Advance(3 * time.Hour)
	sweep(t, s)
	if days, history := rows(t, s, tableDays), rows(t, s, tableHistory); days != 11 || history != 21 {
		t.Fatalf("%d days and %d rows after the short-lived ones, want 11 and 21", days, history)
	}
	clock.Advance(24 * time.Hour)
	sweep(t, s)
	if days, history, due := rows(t, s, tableDays), rows(t, s, tableHistory), rows(t, s, tableExpiry); days != 1 || history != 11 || due != 0 {
		t.Fatalf("%d days, %d rows, %d due at the end; want 1, 11, 0", days, history, due)
	}
}

func TestSweptDayIsWrittenAgain(t *testing.T) {
	clock := storagetest.NewClock()
	s := openSwept(t, clock)
	e := ident.EntityID{Type: ident.Device, ID: ident.New()}
	put(t, s, e, 1, time.Minute)
	clock.Advance(2 * time.Hour)
	sweep(t, s)
	put(t, s, e, 2, time.Minute)
	n := 0
	for _, err := range s.Range(t.Context(), e, "k", storage.Span{Start: 0, End: 10}, false) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d points of the day after it was swept, want 1", n)
	}
}

func TestDayLivesAsLongAsItsLastRow(t *testing.T) {
	clock := storagetest.NewClock()
	s := openSwept(t, clock)
	e := ident.EntityID{Type: ident.Device, ID: ident.New()}
	for i := range int64(10) {
		put(t, s, e, i, 90*time.Minute)
		clock.Advance(time.Hour)
		sweep(t, s)
		if n := rows(t, s, tableHistory); n != int(i)+1 {
			t.Fatalf("%d rows after %d hours, want %d: the last still lives", n, i+1, i+1)
		}
	}
	clock.Advance(2 * time.Hour)
	sweep(t, s)
	if n := rows(t, s, tableHistory); n != 0 {
		t.Errorf("%d rows left", n)
	}
}

func TestKnownDaysAreBounded(t *testing.T) {
	d := newDays(100)
	for i := range 10_000 {
		d.recorded(map[entityDay]int64{{day: day(i)}: 5})
		if n := len(d.young) + len(d.old); n > 100 {
			t.Fatalf("%d days remembered, more than 100", n)
		}
	}
	if !d.known(entityDay{day: 9_999}, 5) || d.known(entityDay{day: 9_999}, 6) || d.known(entityDay{day: 1}, 5) {
		t.Error("the latest day is not known for what it is, or the first still is")
	}
}
