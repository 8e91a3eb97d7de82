// Package storagetest is what every backend of package storage has to pass.
package storagetest

import (
	"errors"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Backend is how the suite gets stores of the backend under test.
type Backend struct {
	// Open returns an empty store that takes the time from now and is closed with the test.
	Open func(t *testing.T, now func() time.Time) storage.Store
	// Killed runs prepare, then do, in a store of its own, and yields the store as it is found
	// after a kill at each point where one can strike during do, the last after all of it.
	Killed func(t *testing.T, prepare, do func(storage.Store)) iter.Seq[storage.Store]
}

// Clock is a clock that moves when told.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock at a fixed moment.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)} }

// Now returns the time the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on.
func (c *Clock) Advance(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(by)
}

func device() ident.EntityID { return ident.EntityID{Type: ident.Device, ID: ident.New()} }

func long(key string, n int64) telemetry.KeyValue {
	return telemetry.KeyValue{Key: key, Value: telemetry.OfLong(n)}
}

func text(key, s string) telemetry.KeyValue {
	return telemetry.KeyValue{Key: key, Value: telemetry.OfString(s)}
}

func write(t *testing.T, s storage.Telemetry, batch ...storage.Write) {
	t.Helper()
	if err := s.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

// points reads a whole range.
func points(t *testing.T, s storage.Telemetry, e ident.EntityID, key string, within storage.Span, newestFirst bool) []storage.Point {
	t.Helper()
	found := []storage.Point{}
	for p, err := range s.Range(t.Context(), e, key, within, newestFirst) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, p)
	}
	return found
}

func latest(t *testing.T, s storage.Telemetry, e ident.EntityID, keys []string) []storage.Entry {
	t.Helper()
	found, err := s.Latest(t.Context(), e, keys)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func attributes(t *testing.T, s storage.Telemetry, e ident.EntityID, scope storage.Scope, keys []string) []storage.Entry {
	t.Helper()
	found, err := s.Attributes(t.Context(), e, scope, keys)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
}
