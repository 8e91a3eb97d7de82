package telemetry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

var exact = cmp.AllowUnexported(values.Value{})

// spy is a store that remembers what it was asked to write, and refuses what the test says.
type spy struct {
	storage.Telemetry
	batches [][]storage.Write
	refuse  func(storage.Write) error
}

func (s *spy) Write(ctx context.Context, batch []storage.Write) error {
	for _, w := range batch {
		if s.refuse != nil {
			if err := s.refuse(w); err != nil {
				return err
			}
		}
	}
	s.batches = append(s.batches, append([]storage.Write(nil), batch...))
	return s.Telemetry.Write(ctx, batch)
}

func open(t *testing.T) *spy {
	t.Helper()
	store, err := pebble.Open(pebble.Options{FS: vfs.NewMem(), Dir: "store", DiskReserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &spy{Telemetry: store}
}

func point(e ident.EntityID, at int64, key string, n int64) telemetry.Save {
	return telemetry.Save{Write: storage.Write{Entity: e, Time: at, Values: []values.KeyValue{{Key: key, Value: values.OfLong(n)}}}}
}

func newEntity() ident.EntityID { return ident.EntityID{Type: ident.Device, ID: ident.New()} }

func flush(t *testing.T, s *telemetry.Saver) []telemetry.Refusal {
	t.Helper()
	refused, err := s.Flush(t.Context(), func(*telemetry.Save) {})
	if err != nil {
		t.Fatal(err)
	}
	return refused
}

func TestLatestValuesAreCoalesced(t *testing.T) {
	store, e, other := open(t), newEntity(), newEntity()
	s := telemetry.NewSaver(store, live.NewHub(), time.Now, 0)
	for _, save := range []telemetry.Save{point(e, 1, "a", 1), point(other, 1, "a", 1), point(e, 2, "a", 2), point(e, 3, "b", 3), point(e, 2, "b", 2)} {
		s.Add(save)
	}
	flush(t, s)
	var skipped []bool
	for _, w := range store.batches[0] {
		skipped = append(skipped, w.SkipLatest)
	}
	// Only the first is replaced by one of the same keys and a later time.
	if diff := cmp.Diff([]bool{true, false, false, false, false}, skipped); diff != "" {
		t.Error(diff)
	}
	entries, err := store.Latest(t.Context(), e, nil)
	want := []storage.Entry{{KeyValue: values.KeyValue{Key: "a", Value: values.OfLong(2)}, Time: 2}, {KeyValue: values.KeyValue{Key: "b", Value: values.OfLong(3)}, Time: 3}}
	if diff := cmp.Diff(want, entries, exact); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestRefusalsAreIsolatedAndTheirLatestRestored(t *testing.T) {
	store, e := open(t), newEntity()
	store.refuse = func(w storage.Write) error {
		if w.Values[0].Long() < 0 {
			return storage.ErrInvalid
		}
		return nil
	}
	s := telemetry.NewSaver(store, live.NewHub(), time.Now, 0)
	for n := range int64(9) {
		s.Add(point(e, n, "a", n))
	}
	s.Add(point(e, 10, "a", -1))
	refused := flush(t, s)
	if len(refused) != 1 || refused[0].Index != 9 || !errors.Is(refused[0].Err, storage.ErrInvalid) {
		t.Errorf("refused: %v", refused)
	}
	entries, err := store.Latest(t.Context(), e, nil)
	if err != nil || len(entries) != 1 || entries[0].Long() != 8 {
		t.Errorf("latest is %v, %v", entries, err)
	}
}

// A batch of one save spares nothing; it must not take what the batch before it spared for its own.
func TestARefusalAloneInItsBatch(t *testing.T) {
	store, e := open(t), newEntity()
	store.refuse = func(w storage.Write) error {
		if w.Values[0].Long() < 0 {
			return storage.ErrInvalid
		}
		return nil
	}
	s := telemetry.NewSaver(store, live.NewHub(), time.Now, 0)
	for n := range int64(3) {
		s.Add(point(e, n, "a", n))
	}
	flush(t, s)
	s.Add(point(e, 4, "a", -1))
	if refused := flush(t, s); len(refused) != 1 || refused[0].Index != 0 {
		t.Errorf("refused: %v", refused)
	}
}

// What a batch spares is restored also when the store was away at the first attempt.
func TestARefusalAfterTheStoreWasAway(t *testing.T) {
	store, e := open(t), newEntity()
	fault := storage.ErrUnavailable
	store.refuse = func(w storage.Write) error {
		if w.Values[0].Long() < 0 {
			return fault
		}
		return nil
	}
	s := telemetry.NewSaver(store, live.NewHub(), time.Now, 0)
	s.Add(point(e, 1, "a", 1))
	s.Add(point(e, 2, "a", -1))
	if _, err := s.Flush(t.Context(), func(*telemetry.Save) {}); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("flush ended with %v", err)
	}
	fault = storage.ErrInvalid
	if refused := flush(t, s); len(refused) != 1 || refused[0].Index != 1 {
		t.Errorf("refused: %v", refused)
	}
	entries, err := store.Latest(t.Context(), e, nil)
	if err != nil || len(entries) != 1 || entries[0].Long() != 1 {
		t.Errorf("latest is %v, %v", entries, err)
	}
}

func TestAStoreThatIsAwayLosesNothing(t *testing.T) {
	store, e := open(t), newEntity()
	away := true
	store.refuse = func(storage.Write) error {
		if away {
			return storage.ErrUnavailable
		}
		return nil
	}
	s := telemetry.NewSaver(store, live.NewHub(), time.Now, 0)
	s.Add(point(e, 1, "a", 1))
	if _, err := s.Flush(t.Context(), func(*telemetry.Save) {}); !errors.Is(err, storage.ErrUnavailable) || s.Len() != 1 {
		t.Fatalf("flush: %v, %d saves left", err, s.Len())
	}
	away = false
	flush(t, s)
	if entries, err := store.Latest(t.Context(), e, nil); err != nil || len(entries) != 1 {
		t.Errorf("latest is %v, %v", entries, err)
	}
}

func TestStampsOnlyGrow(t *testing.T) {
	now := time.UnixMicro(1_000_000_000)
	s := telemetry.NewSaver(open(t), live.NewHub(), func() time.Time { return now }, 500)
	for _, step := range []struct{ received, want int64 }{
		{1000, 1000},                   // when it was received
		{900, 1001},                    // never back
		{2_000_000_000, 1_001_000_000}, // never more than a second ahead
		{0, 1_001_000_001}, {5, 1_001_000_002},
	} {
		save := point(newEntity(), 1, "a", 1)
		save.ReceivedAt = step.received
		s.Add(save)
		if s.Stamp() != step.want {
			t.Errorf("received at %d it is stamped %d, want %d", step.received, s.Stamp(), step.want)
		}
	}
}

func TestOnlyChangedAttributesAreWritten(t *testing.T) {
	store, e := open(t), newEntity()
	hub := live.NewHub()
	var told []live.Update
	defer hub.Watch(e, func(u live.Update) { told = append(told, u) })()
	s := telemetry.NewSaver(store, hub, time.Now, 0)
	attribute := func(n int64) telemetry.Save {
		save := point(e, 1, "a", n)
		save.Scope, save.OnlyChanged = storage.Client, true
		return save
	}
	s.Add(attribute(1))
	if !s.Touches(e) || s.Touches(newEntity()) {
		t.Error("it does not know what it is about to write")
	}
	flush(t, s)
	s.Add(attribute(1))
	flush(t, s)
	for _, n := range []int64{2, 1, 1} { // within one batch each is compared with the one before
		s.Add(attribute(n))
	}
	var stored int
	if _, err := s.Flush(t.Context(), func(*telemetry.Save) { stored++ }); err != nil {
		t.Fatal(err)
	}
	if len(told) != 3 || stored != 2 {
		t.Errorf("watchers were told %d times, %d saves were stored", len(told), stored)
	}
	entries, err := store.Attributes(t.Context(), e, storage.Client, nil)
	if err != nil || entries[0].Long() != 1 {
		t.Errorf("stored: %v, %v", entries, err)
	}
}

func TestSilentSavesAreNotTold(t *testing.T) {
	e, hub := newEntity(), live.NewHub()
	var told []live.Update
	defer hub.Watch(e, func(u live.Update) { told = append(told, u) })()
	s := telemetry.NewSaver(open(t), hub, time.Now, 0)
	quiet := point(e, 1, "a", 1)
	quiet.Silent = true
	s.Add(quiet)
	loud := point(e, 2, "a", 2)
	s.Add(loud)
	flush(t, s)
	loud.Values[0] = values.KeyValue{Key: "used again"}
	if len(told) != 1 || told[0].Time != 2 || told[0].Values[0].Key != "a" {
		t.Errorf("watchers were told %v", told)
	}
}

func TestLiveOnlySavesAreToldAndNotStored(t *testing.T) {
	store, e, hub := open(t), newEntity(), live.NewHub()
	told, kept := 0, 0
	defer hub.Watch(e, func(live.Update) { told++ })()
	s := telemetry.NewSaver(store, hub, time.Now, 0)
	for _, scope := range []storage.Scope{storage.Timeseries, storage.Client} {
		save := point(e, 1, "a", 1)
		save.Scope, save.LiveOnly, save.OnlyChanged = scope, true, true
		s.Add(save)
	}
	if s.Touches(e) {
		t.Error("attributes wait to be stored")
	}
	if _, err := s.Flush(t.Context(), func(*telemetry.Save) { kept++ }); err != nil {
		t.Fatal(err)
	}
	if told != 2 || kept != 0 || len(store.batches) != 0 && len(store.batches[0]) != 0 {
		t.Errorf("told %d times, kept %d, stored %v", told, kept, store.batches)
	}
}

func BenchmarkSaverAddFlush(b *testing.B) {
	s := telemetry.NewSaver(discard{}, live.NewHub(), time.Now, 0)
	entities := make([]ident.EntityID, 200)
	for i := range entities {
		entities[i] = newEntity()
	}
	kvs := []values.KeyValue{{Key: "a", Value: values.OfLong(1)}, {Key: "b", Value: values.OfLong(2)}, {Key: "c", Value: values.OfLong(3)}}
	b.ReportAllocs()
	for at := int64(0); b.Loop(); at++ {
		s.Add(telemetry.Save{Write: storage.Write{Entity: entities[at%200], Time: at, Values: kvs}})
		if s.Len() == 2000 {
			if _, err := s.Flush(b.Context(), func(*telemetry.Save) {}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

type discard struct{ storage.Telemetry }

func (discard) Write(context.Context, []storage.Write) error { return nil }
