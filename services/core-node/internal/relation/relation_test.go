package relation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// killing fails every change of rows from the n-th on, as a kill would.
type killing struct {
	storage.Rows
	left int
}

var errKilled = errors.New("killed")

func (k *killing) ChangeRows(ctx context.Context, group string, put []storage.Row, remove [][]byte, ttl time.Duration) error {
	if k.left--; k.left < 0 {
		return errKilled
	}
	return k.Rows.ChangeRows(ctx, group, put, remove, ttl)
}

func openStore(t *testing.T) storage.Store {
	t.Helper()
	s, err := pebble.Open(pebble.Options{Dir: "store", FS: vfs.NewMem()})
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

func tenant() ident.TenantID { return ident.TenantID{ID: ident.New()} }

func thing(kind ident.EntityType) ident.EntityID { return ident.EntityID{Type: kind, ID: ident.New()} }

func save(t *testing.T, r *relation.Registry, tenant ident.TenantID, from, to ident.EntityID, kind string) relation.Relation {
	t.Helper()
	saved, err := r.Save(t.Context(), tenant, relation.Relation{Key: relation.Key{From: from, To: to, Type: kind}})
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

func found(t *testing.T) func([]relation.Relation, error) map[relation.Key]bool {
	return func(all []relation.Relation, err error) map[relation.Key]bool {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		keys := map[relation.Key]bool{}
		for _, r := range all {
			if keys[r.Key] {
				t.Errorf("%v is found twice", r.Key)
			}
			keys[r.Key] = true
		}
		return keys
	}
}

func want(t *testing.T, got map[relation.Key]bool, all ...relation.Relation) {
	t.Helper()
	keys := map[relation.Key]bool{}
	for _, r := range all {
		keys[r.Key] = true
	}
	if diff := cmp.Diff(keys, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

func TestRelationsAreFoundFromBothEnds(t *testing.T) {
	r := relation.New(openStore(t), relation.DefaultSettings())
	mine, other := tenant(), tenant()
	building, room, device := thing(ident.Asset), thing(ident.Asset), thing(ident.Device)
	a := save(t, r, mine, building, room, "Contains")
	b := save(t, r, mine, room, device, "Contains")
	c := save(t, r, mine, room, device, "Manages")
	d := save(t, r, mine, room, device, "Contains2")
	dashboard, err := r.Save(t.Context(), mine, relation.Relation{Key: relation.Key{From: room, To: device, Type: "Contains", Group: relation.Dashboards}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	want(t, found(t)(r.From(ctx, mine, building, "", "")), a)
	want(t, found(t)(r.From(ctx, mine, room, "", "")), b, c, d)
	want(t, found(t)(r.From(ctx, mine, room, "Contains", "")), b)
	want(t, found(t)(r.To(ctx, mine, device, "", "")), b, c, d)
	want(t, found(t)(r.To(ctx, mine, device, "Manages", "COMMON")), c)
	want(t, found(t)(r.To(ctx, mine, device, "", relation.Dashboards)), dashboard)
	want(t, found(t)(r.From(ctx, other, room, "", "")))
	want(t, found(t)(r.To(ctx, other, device, "", "")))
	if _, err := r.Get(ctx, other, a.Key); !errors.Is(err, storage.ErrNotFound) || fault.KindOf(err) != fault.NotFound {
		t.Errorf("another tenant reads it: %v", err)
	}
	if gone, err := r.Delete(ctx, mine, b.Key); err != nil || gone.Key != b.Key {
		t.Errorf("delete gives %v, %v", gone, err)
	}
	if _, err := r.Delete(ctx, mine, b.Key); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("deleting twice: %v", err)
	}
	want(t, found(t)(r.To(ctx, mine, device, "", "")), c, d)
	if n, err := r.DeleteAll(ctx, mine, room, relation.Common); err != nil || n != 3 {
		t.Errorf("deleted %d, %v", n, err)
	}
	want(t, found(t)(r.From(ctx, mine, building, "", "")))
	want(t, found(t)(r.To(ctx, mine, device, "", "")))
	want(t, found(t)(r.From(ctx, mine, room, "", relation.Dashboards)), dashboard)
	if err := r.EntityDeleted(ctx, mine, device); err != nil {
		t.Fatal(err)
	}
	want(t, found(t)(r.From(ctx, mine, room, "", relation.Dashboards)))
}

func TestSavingAgainCountsVersions(t *testing.T) {
	r := relation.New(openStore(t), relation.DefaultSettings())
	mine := tenant()
	one := relation.Relation{Key: relation.Key{From: thing(ident.Asset), To: thing(ident.Device), Type: "Contains"}}
	for version := int64(1); version < 4; version++ {
		one.AdditionalInfo = json.RawMessage(fmt.Sprint(version))
		saved, err := r.Save(t.Context(), mine, one)
		if err != nil || saved.Version != version {
			t.Fatalf("version %d, %v", saved.Version, err)
		}
	}
	got, err := r.Get(t.Context(), mine, one.Key)
	if err != nil || got.Version != 3 || string(got.AdditionalInfo) != "3" || got.Group != relation.Common {
		t.Errorf("stored is %+v, %v", got, err)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var back relation.Relation
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, back); diff != "" {
		t.Errorf("%s comes back (-want +got):\n%s", text, diff)
	}
}

func TestBadRelationsAreRefused(t *testing.T) {
	r := relation.New(openStore(t), relation.DefaultSettings())
	a, b := thing(ident.Asset), thing(ident.Device)
	for _, k := range []relation.Key{
		{To: b, Type: "t"},
		{From: a, Type: "t"},
		{From: a, To: b},
		{From: a, To: b, Type: string(make([]byte, 256))},
		{From: a, To: b, Type: "a\x00b"},
		{From: a, To: b, Type: "\xff"},
	} {
		if _, err := r.Save(t.Context(), tenant(), relation.Relation{Key: k}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: error is %v", k, err)
		}
	}
}

// TestAKillLeavesNothingHalf kills saves and deletes before each of their writes.
func TestAKillLeavesNothingHalf(t *testing.T) {
	store := openStore(t)
	whole := relation.New(store, relation.DefaultSettings())
	for _, act := range []string{"save", "delete"} {
		for at := range 3 {
			mine := tenant()
			one := relation.Relation{Key: relation.Key{From: thing(ident.Asset), To: thing(ident.Device), Type: "Contains", Group: relation.Common}}
			killed := relation.New(&killing{store, at}, relation.DefaultSettings())
			var err error
			if act == "save" {
				_, err = killed.Save(t.Context(), mine, one)
			} else {
				save(t, whole, mine, one.From, one.To, one.Type)
				_, err = killed.Delete(t.Context(), mine, one.Key)
			}
			if err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			from, to := found(t)(whole.From(t.Context(), mine, one.From, "", "")), found(t)(whole.To(t.Context(), mine, one.To, "", ""))
			if diff := cmp.Diff(from, to); diff != "" {
				t.Errorf("%s killed at write %d (-from +to):\n%s", act, at, diff)
			}
			// What is left does not stand in the way.
			want(t, found(t)(whole.To(t.Context(), mine, one.To, "", "")), []relation.Relation{one}[:len(from)]...)
			save(t, whole, mine, one.From, one.To, one.Type)
			want(t, found(t)(whole.To(t.Context(), mine, one.To, "", "")), one)
			if _, err := whole.DeleteAll(t.Context(), mine, one.To, ""); err != nil {
				t.Fatal(err)
			}
			want(t, found(t)(whole.From(t.Context(), mine, one.From, "", "")))
		}
	}
}

func TestSearch(t *testing.T) {
	r := relation.New(openStore(t), relation.Settings{Found: 20, MaxLevel: 4})
	mine := tenant()
	building, floor, room, sensor, meter := thing(ident.Asset), thing(ident.Asset), thing(ident.Asset), thing(ident.Device), thing(ident.Device)
	a := save(t, r, mine, building, floor, "Contains")
	b := save(t, r, mine, floor, room, "Contains")
	c := save(t, r, mine, room, sensor, "Contains")
	d := save(t, r, mine, building, meter, "Manages")
	circle := save(t, r, mine, room, building, "Knows")
	for name, q := range map[string]struct {
		query relation.Query
		want  []relation.Relation
	}{
		"all":            {relation.Query{Root: building, Direction: relation.From}, []relation.Relation{a, b, c, d, circle}},
		"one level":      {relation.Query{Root: building, Direction: relation.From, MaxLevel: 1}, []relation.Relation{a, d}},
		"two levels":     {relation.Query{Root: building, Direction: relation.From, MaxLevel: 2}, []relation.Relation{a, d, b}},
		"upwards":        {relation.Query{Root: sensor, Direction: relation.To}, []relation.Relation{c, b, a, circle}},
		"last level":     {relation.Query{Root: building, Direction: relation.From, FetchLastLevel: true}, []relation.Relation{c, d}},
		"last of two":    {relation.Query{Root: building, Direction: relation.From, MaxLevel: 2, FetchLastLevel: true}, []relation.Relation{b, d}},
		"by type":        {relation.Query{Root: building, Direction: relation.From, Filters: []relation.Filter{{Type: "Manages"}}}, []relation.Relation{d}},
		"by other types": {relation.Query{Root: building, Direction: relation.From, Filters: []relation.Filter{{Type: "Contains", Negate: true}}}, []relation.Relation{d, circle}},
		"by entity": {relation.Query{
			Root: building, Direction: relation.From,
			Filters: []relation.Filter{{Type: "Contains", EntityTypes: []ident.EntityType{ident.Device}}, {Type: "Manages"}},
		}, []relation.Relation{c, d}},
		"another group": {relation.Query{Root: building, Direction: relation.From, Group: relation.Edges}, nil},
	} {
		t.Run(name, func(t *testing.T) { want(t, found(t)(r.Search(t.Context(), mine, q.query)), q.want...) })
	}
	deep := thing(ident.Asset)
	at := deep
	for range 10 {
		next := thing(ident.Asset)
		save(t, r, mine, at, next, "Contains")
		at = next
	}
	if all, err := r.Search(t.Context(), mine, relation.Query{Root: deep, Direction: relation.From}); err != nil || len(all) != 4 {
		t.Errorf("%d levels searched, %v; want 4", len(all), err)
	}
	for range 21 {
		save(t, r, mine, meter, thing(ident.Device), "Contains")
	}
	_, search := r.Search(t.Context(), mine, relation.Query{Root: building, Direction: relation.From})
	_, from := r.From(t.Context(), mine, meter, "", "")
	for _, err := range []error{search, from} {
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("more than can be found: %v", err)
		}
	}
}
