package pebble

import (
	"testing"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/storagetest"
)

func putRow(t *testing.T, s *Store, key string, ttl time.Duration) {
	t.Helper()
	if err := s.ChangeRows(t.Context(), "g", []storage.Row{{Key: []byte(key)}}, nil, ttl); err != nil {
		t.Fatal(err)
	}
}

func TestSweepRemovesExpiredRows(t *testing.T) {
	clock := storagetest.NewClock()
	s := openSwept(t, clock)
	for i := range 2*sweptAtOnce + 1 {
		putRow(t, s, string(rune('a'+i)), time.Hour)
	}
	putRow(t, s, "kept", 0)
	putRow(t, s, "renewed", time.Hour)
	putRow(t, s, "renewed", 3*time.Hour)
	for _, step := range []struct {
		after          time.Duration
		stored, before int
	}{
		{0, 2*sweptAtOnce + 3, 2*sweptAtOnce + 3},
		{time.Hour, 2, 1},
		{2 * time.Hour, 1, 0},
	} {
		clock.Advance(step.after)
		if err := s.sweepRows(t.Context()); err != nil {
			t.Fatal(err)
		}
		if stored, due := rows(t, s, tableRows), rows(t, s, tableRowExpiry); stored != step.stored || due != step.before {
			t.Errorf("after %v more: %d rows and %d due, want %d and %d", step.after, stored, due, step.stored, step.before)
		}
	}
}
