package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Entities holds a backend to storage.Entities.
func Entities(t *testing.T, b Backend) {
	tests := map[string]func(*testing.T, storage.Store){
		"a document comes back":                       roundTrip,
		"an update needs the stored version":          compareAndSet,
		"claims are unique and move with updates":     claims,
		"one of many creates gets a claim":            concurrentClaims,
		"one of many updates of a version succeeds":   concurrentUpdates,
		"a tenant sees its own documents":             isolation,
		"lists are in order of id and can be resumed": lists,
		"deleting while listing":                      deleteWhileListing,
		"cancelled contexts":                          cancelledEntities,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, b.Open(t, NewClock().Now)) })
	}
	t.Run("a kill leaves all of a change or nothing", func(t *testing.T) { kills(t, b) })
}

func document(tenant ident.TenantID, claims ...string) storage.Document {
	return storage.Document{Tenant: tenant, ID: device(), Version: 1, Body: []byte(`{"name":"x"}`), Claims: claims}
}

func tenant() ident.TenantID { return ident.TenantID{ID: ident.New()} }

func create(t *testing.T, s storage.Entities, d storage.Document) {
	t.Helper()
	if err := s.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func stored(t *testing.T, s storage.Entities, want storage.Document) {
	t.Helper()
	got, err := s.Get(t.Context(), want.Tenant, want.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
	for _, claim := range want.Claims {
		got, err := s.ByClaim(t.Context(), claim)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
	}
}

func roundTrip(t *testing.T, s storage.Store) {
	big := document(tenant(), "claim/\x00ä", strings.Repeat("c", 1000), "")
	big.Body = []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	system := document(ident.TenantID{})
	for _, d := range []storage.Document{document(tenant()), big, system} {
		d.Version = 99 // a new document starts at 1 whatever is asked for
		create(t, s, d)
		d.Version = 1
		stored(t, s, d)
		wantError(t, s.Create(t.Context(), d), storage.ErrTaken)
		if err := s.Delete(t.Context(), d.Tenant, d.ID, 0); err != nil {
			t.Fatal(err)
		}
		_, err := s.Get(t.Context(), d.Tenant, d.ID)
		wantError(t, err, storage.ErrNotFound)
		wantError(t, s.Delete(t.Context(), d.Tenant, d.ID, 0), storage.ErrNotFound)
		for _, claim := range d.Claims {
			_, err := s.ByClaim(t.Context(), claim)
			wantError(t, err, storage.ErrNotFound)
		}
	}
}

func compareAndSet(t *testing.T, s storage.Store) {
	d := document(tenant(), "name")
	_, err := s.Update(t.Context(), d)
	wantError(t, err, storage.ErrNotFound)
	create(t, s, d)
	for version := int64(1); version < 4; version++ {
		d.Version, d.Body = version, fmt.Appendf(nil, `{"at":%d}`, version)
		next, err := s.Update(t.Context(), d)
		if err != nil || next != version+1 {
			t.Fatalf("update of version %d gives %d, %v", version, next, err)
		}
		_, err = s.Update(t.Context(), d)
		wantError(t, err, storage.ErrVersion)
	}
	wantError(t, s.Delete(t.Context(), d.Tenant, d.ID, 3), storage.ErrVersion)
	d.Version = 4
	stored(t, s, d)
	if err := s.Delete(t.Context(), d.Tenant, d.ID, 4); err != nil {
		t.Fatal(err)
	}
}

func claims(t *testing.T, s storage.Store) {
	a, b := document(tenant(), "one", "two"), document(tenant(), "two")
	create(t, s, a)
	err := s.Create(t.Context(), b)
	wantError(t, err, storage.ErrTaken)
	if err == nil || !strings.Contains(err.Error(), "two") {
		t.Errorf("%v does not name the claim", err)
	}
	_, err = s.Get(t.Context(), b.Tenant, b.ID)
	wantError(t, err, storage.ErrNotFound)
	b.Claims = []string{"three"}
	create(t, s, b)
	b.Claims = []string{"four", "one"}
	_, err = s.Update(t.Context(), b)
	wantError(t, err, storage.ErrTaken)
	b.Claims = []string{"three"}
	stored(t, s, b)
	_, err = s.ByClaim(t.Context(), "four")
	wantError(t, err, storage.ErrNotFound)

	a.Claims = []string{"two", "five"} // lets go of "one"
	if a.Version, err = s.Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	b.Claims = []string{"one"}
	if b.Version, err = s.Update(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	stored(t, s, a)
	stored(t, s, b)
	if err := s.Delete(t.Context(), a.Tenant, a.ID, 0); err != nil {
		t.Fatal(err)
	}
	create(t, s, document(tenant(), "two", "five"))
}

// race runs f from several goroutines at once and returns how many succeeded; other errors than lost fail the test.
func race(t *testing.T, lost error, f func(i int) error) int {
	t.Helper()
	var won atomic.Int64
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			if err := f(i); err == nil {
				won.Add(1)
			} else if !errors.Is(err, lost) {
				t.Errorf("unexpected: %v", err)
			}
		})
	}
	group.Wait()
	return int(won.Load())
}

func concurrentClaims(t *testing.T, s storage.Store) {
	for round := range 5 {
		claim := fmt.Sprint("name", round)
		documents := make([]storage.Document, 8)
		for i := range documents {
			documents[i] = document(tenant(), fmt.Sprint("own", round, i), claim)
		}
		same(t, race(t, storage.ErrTaken, func(i int) error { return s.Create(t.Context(), documents[i]) }), 1)
		holder, err := s.ByClaim(t.Context(), claim)
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range documents { // those who lost left nothing behind
			if d.ID == holder.ID {
				continue
			}
			_, err := s.Get(t.Context(), d.Tenant, d.ID)
			wantError(t, err, storage.ErrNotFound)
			_, err = s.ByClaim(t.Context(), fmt.Sprint("own", round, i))
			wantError(t, err, storage.ErrNotFound)
		}
	}
}

func concurrentUpdates(t *testing.T, s storage.Store) {
	d := document(tenant())
	create(t, s, d)
	for version := range int64(5) {
		won := race(t, storage.ErrVersion, func(i int) error {
			mine := d
			mine.Version, mine.Body = version+1, fmt.Appendf(nil, "%d", i)
			_, err := s.Update(t.Context(), mine)
			return err
		})
		same(t, won, 1)
	}
}

func isolation(t *testing.T, s storage.Store) {
	mine, other := document(tenant(), "mine"), tenant()
	create(t, s, mine)
	_, err := s.Get(t.Context(), other, mine.ID)
	wantError(t, err, storage.ErrNotFound)
	_, err = s.Get(t.Context(), ident.TenantID{}, mine.ID)
	wantError(t, err, storage.ErrNotFound)
	wantError(t, s.Delete(t.Context(), other, mine.ID, 0), storage.ErrNotFound)
	theirs := mine
	theirs.Tenant, theirs.Claims = other, nil
	_, err = s.Update(t.Context(), theirs)
	wantError(t, err, storage.ErrNotFound)
	same(t, len(list(t, s, other, ident.ID{})), 0)
	stored(t, s, mine)
}

func list(t *testing.T, s storage.Entities, tenant ident.TenantID, after ident.ID) (ids []ident.ID) {
	t.Helper()
	for d, err := range s.List(t.Context(), tenant, ident.Device, after) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, d.ID.ID)
	}
	return ids
}

func lists(t *testing.T, s storage.Store) {
	a, b := tenant(), tenant()
	var want []ident.ID
	for i := range 50 {
		d := document(a, fmt.Sprint("name", i))
		d.ID.ID[0] = byte(i * 37) // in no order
		create(t, s, d)
		create(t, s, document(b))
		create(t, s, storage.Document{Tenant: a, ID: ident.EntityID{Type: ident.Asset, ID: ident.New()}, Body: []byte("{}")})
		want = append(want, d.ID.ID)
	}
	slices.SortFunc(want, func(x, y ident.ID) int { return bytes.Compare(x[:], y[:]) })
	same(t, list(t, s, a, ident.ID{}), want)
	same(t, list(t, s, a, want[9]), want[10:])
	same(t, list(t, s, a, want[49]), []ident.ID(nil))
	var paged []ident.ID
	for after := (ident.ID{}); ; {
		n := len(paged)
		for d, err := range s.List(t.Context(), a, ident.Device, after) {
			if err != nil {
				t.Fatal(err)
			}
			if paged = append(paged, d.ID.ID); len(paged) == n+7 {
				break
			}
		}
		if len(paged) == n {
			break
		}
		after = paged[len(paged)-1]
	}
	same(t, paged, want)
}

func deleteWhileListing(t *testing.T, s storage.Store) {
	a := tenant()
	for range 20 {
		create(t, s, document(a))
	}
	for d, err := range s.List(t.Context(), a, ident.Device, ident.ID{}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), a, d.ID, d.Version); err != nil {
			t.Fatal(err)
		}
	}
	same(t, len(list(t, s, a, ident.ID{})), 0)
}

func cancelledEntities(t *testing.T, s storage.Store) {
	d := document(tenant(), "name")
	create(t, s, d)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, get := s.Get(ctx, d.Tenant, d.ID)
	_, byClaim := s.ByClaim(ctx, "name")
	_, update := s.Update(ctx, d)
	var listed error
	for _, err := range s.List(ctx, d.Tenant, ident.Device, ident.ID{}) {
		listed = err
	}
	for _, err := range []error{get, byClaim, update, listed, s.Create(ctx, document(tenant())), s.Delete(ctx, d.Tenant, d.ID, 0)} {
		wantError(t, err, context.Canceled)
	}
	stored(t, s, d)
}

func kills(t *testing.T, b Backend) {
	d := document(tenant(), "name", "key")
	renamed := d
	renamed.Claims, renamed.Body = []string{"other name", "key"}, []byte(`{"name":"y"}`)
	for name, c := range map[string]struct{ prepare, do func(storage.Store) error }{
		"create": {
			func(storage.Store) error { return nil },
			func(s storage.Store) error { return s.Create(t.Context(), d) },
		},
		"update": {
			func(s storage.Store) error { return s.Create(t.Context(), d) },
			func(s storage.Store) error { _, err := s.Update(t.Context(), renamed); return err },
		},
		"delete": {
			func(s storage.Store) error { return s.Create(t.Context(), d) },
			func(s storage.Store) error { return s.Delete(t.Context(), d.Tenant, d.ID, 0) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			prepare := func(s storage.Store) {
				if err := c.prepare(s); err != nil {
					t.Fatal(err)
				}
			}
			do := func(s storage.Store) { last = c.do(s) } // of a kill nobody hears
			n := 0
			for s := range b.Killed(t, prepare, do) {
				whole(t, s, d, renamed)
				n++
			}
			if last != nil {
				t.Errorf("not killed, and yet: %v", last)
			}
			if n < 2 {
				t.Errorf("killed at %d points only", n)
			}
		})
	}
}

// whole checks that either is stored with its claims and those alone, or neither; and that
// whatever is not claimed can be.
func whole(t *testing.T, s storage.Store, one, other storage.Document) {
	t.Helper()
	found, err := s.Get(t.Context(), one.Tenant, one.ID)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		t.Fatal(err)
	}
	if err == nil && !slices.Equal(found.Claims, one.Claims) && !slices.Equal(found.Claims, other.Claims) {
		t.Errorf("neither one nor the other: %+v", found)
	}
	for _, claim := range []string{"name", "other name", "key"} {
		holder, err := s.ByClaim(t.Context(), claim)
		switch held := slices.Contains(found.Claims, claim); {
		case held && err != nil:
			t.Errorf("claim %q is lost: %v", claim, err)
		case held:
			same(t, holder, found)
		default:
			wantError(t, err, storage.ErrNotFound)
			create(t, s, document(tenant(), claim))
		}
	}
}
