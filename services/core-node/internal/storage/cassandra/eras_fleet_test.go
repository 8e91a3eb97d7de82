//go:build fleet

package cassandra

import (
	"math"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/storagetest"
)

// at is one reading of k.
func at(e ident.EntityID, time, stamp, value int64) []storage.Write {
	return []storage.Write{{Entity: e, Time: time, Stamp: stamp, Values: []telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(value)}}}}
}

func write(t *testing.T, s *Store, batch []storage.Write) {
	t.Helper()
	if err := s.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

func wantLatest(t *testing.T, s *Store, e ident.EntityID, value int64) {
	t.Helper()
	entries, err := s.Latest(t.Context(), e, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Value != telemetry.OfLong(value) {
		t.Errorf("latest is %v, want %d", entries, value)
	}
}

// TestOwnersInTurn lets one node delete what another has written, and the other go on.
func TestOwnersInTurn(t *testing.T) {
	clock := storagetest.NewClock()
	first, second := open(t, clock.Now), open(t, clock.Now)
	e := oneWrite()[0].Entity
	write(t, first, at(e, 100, 1, 1)) // first knows that there are no eras
	if err := second.DeleteLatest(t.Context(), e, []string{"k"}); err != nil {
		t.Fatal(err)
	}
	write(t, second, at(e, 50, 2, 2))
	wantLatest(t, first, e, 2)
	first.Forget() // as it does when it takes on the partition
	write(t, first, at(e, 60, 3, 3))
	wantLatest(t, second, e, 3)

	// What is on its way from the owner before is below all that.
	write(t, second, at(e, 55, 2, 9))
	wantLatest(t, first, e, 3)

	// Who does not forget knows better when what it knows is old.
	if err := second.DeleteEntity(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	clock.Advance(eraAge + time.Second)
	write(t, first, at(e, math.MinInt64, 4, 4))
	wantLatest(t, second, e, 4)
}

// TestDeletesHaveNoClock deletes what has stamps of tomorrow, and writes later ones of yesterday's clock.
func TestDeletesHaveNoClock(t *testing.T) {
	s := open(t, time.Now)
	e := oneWrite()[0].Entity
	tomorrow := time.Now().Add(24 * time.Hour).UnixMicro()
	always := storage.Span{Start: math.MinInt64, End: math.MaxInt64}
	count := func() (n int) {
		for _, err := range s.Range(t.Context(), e, "k", always, false) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	for round, stamp := range []int64{tomorrow, 5, 6} {
		e = oneWrite()[0].Entity
		write(t, s, at(e, 1, stamp, 1))
		if err := s.DeleteSeries(t.Context(), e, []string{"k"}, always); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != 0 {
			t.Errorf("round %d: %d rows after the delete", round, n)
		}
		write(t, s, at(e, 1, stamp+1, 2))
		if n := count(); n != 1 {
			t.Errorf("round %d: %d rows after a later write", round, n)
		}
	}
}

// TestBounds fills what is remembered beyond its bound: all is still right.
func TestBounds(t *testing.T) {
	if err := installed(); err != nil {
		t.Fatal(err)
	}
	o := underTest(theKeyspace)
	o.KnownDays, o.KnownEntities, o.InFlight, o.BatchRows, o.BatchBytes, o.ReadBytes = 4, 4, 2, 2, 200, 100
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var all []storage.Write
	for _, e := range entities(20) {
		for i := range int64(5) {
			all = append(all, at(e, i*dayMillis, i+1, i)[0])
		}
	}
	write(t, s, all)
	if n := len(s.days.young) + len(s.days.old); n > 4 {
		t.Errorf("%d days are remembered", n)
	}
	if n := len(s.eras.young) + len(s.eras.old); n > 4 {
		t.Errorf("%d entities are remembered", n)
	}
	for i := 4; i < len(all); i += 5 {
		wantLatest(t, s, all[i].Entity, 4)
		n := int64(0)
		for p, err := range s.Range(t.Context(), all[i].Entity, "k", storage.Span{Start: 0, End: 6 * dayMillis}, false) {
			if err != nil || p.Time != n*dayMillis {
				t.Fatal(p, err)
			}
			n++
		}
		if n != 5 {
			t.Errorf("%d points", n)
		}
	}
}
