package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Rows holds a backend to storage.Rows.
func Rows(t *testing.T, b Backend) {
	tests := map[string]func(*testing.T, storage.Store, *Clock){
		"rows come in order of key, either way":      rowOrder,
		"a scan includes its start, not its end":     rowRanges,
		"groups are apart":                           rowGroups,
		"what is put again is replaced":              rowReplaced,
		"a change puts and removes together":         rowChange,
		"expired rows are invisible at once":         rowExpiry,
		"a row put again lives as its last put says": rowExpiryRenewed,
		"deleting a group leaves the others":         rowDelete,
		"invalid changes change nothing":             rowInvalid,
		"many and large rows":                        rowMany,
		"any bytes are keys, bodies and groups":      rowBytes,
		"cancelled contexts":                         rowCancelled,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			clock := NewClock()
			test(t, b.Open(t, clock.Now), clock)
		})
	}
}

// group returns a group nobody else uses: backends may share a store between tests.
func group() string { return "test/" + ident.New().String() }

func row(key, body string) storage.Row { return storage.Row{Key: []byte(key), Body: []byte(body)} }

func put(t *testing.T, s storage.Rows, group string, ttl time.Duration, rows ...storage.Row) {
	t.Helper()
	if err := s.ChangeRows(t.Context(), group, rows, nil, ttl); err != nil {
		t.Fatal(err)
	}
}

// scan reads rows as "key=body".
func scan(t *testing.T, s storage.Rows, group string, from, to []byte, newestFirst bool) []string {
	t.Helper()
	found := []string{}
	for r, err := range s.ScanRows(t.Context(), group, from, to, newestFirst) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, string(r.Key)+"="+string(r.Body))
	}
	return found
}

func rowOrder(t *testing.T, s storage.Store, _ *Clock) {
	g := group()
	put(t, s, g, 0, row("b", "2"), row("a\x00", "1"), row("\xff", "4"), row("a", "0"), row("ba", "3"))
	want := []string{"a=0", "a\x00=1", "b=2", "ba=3", "\xff=4"}
	same(t, scan(t, s, g, nil, nil, false), want)
	slices.Reverse(want)
	same(t, scan(t, s, g, nil, nil, true), want)
	for r, err := range s.ScanRows(t.Context(), g, nil, nil, false) { // a reader may have enough
		if err != nil || string(r.Key) != "a" {
			t.Errorf("the first row is %q, %v", r.Key, err)
		}
		break
	}
}

func rowRanges(t *testing.T, s storage.Store, _ *Clock) {
	g := group()
	put(t, s, g, 0, row("a", ""), row("b", ""), row("c", ""))
	for _, c := range []struct {
		from, to string
		want     []string
	}{
		{"a", "c", []string{"a=", "b="}},
		{"aa", "bb", []string{"b="}},
		{"b", "b", []string{}},
		{"c", "a", []string{}},
		{"d", "e", []string{}},
	} {
		same(t, scan(t, s, g, []byte(c.from), []byte(c.to), false), c.want)
		slices.Reverse(c.want)
		same(t, scan(t, s, g, []byte(c.from), []byte(c.to), true), c.want)
	}
	same(t, scan(t, s, g, []byte("b"), nil, false), []string{"b=", "c="})
	same(t, scan(t, s, g, nil, []byte("b"), true), []string{"a="})
}

func rowGroups(t *testing.T, s storage.Store, _ *Clock) {
	g := group()
	for _, name := range []string{g, g + "a", g + "\x00", g + "\x00\x01"} {
		put(t, s, name, 0, row("k", name))
	}
	for _, name := range []string{g, g + "a", g + "\x00", g + "\x00\x01"} {
		same(t, scan(t, s, name, nil, nil, false), []string{"k=" + name})
	}
	same(t, scan(t, s, group(), nil, nil, false), []string{})
}

func rowReplaced(t *testing.T, s storage.Store, _ *Clock) {
	g := group()
	for i := range 20 {
		put(t, s, g, 0, row("k", fmt.Sprint(i)))
	}
	put(t, s, g, 0, row("k", "first"), row("k", "last"))
	same(t, scan(t, s, g, nil, nil, false), []string{"k=last"})
}

func rowChange(t *testing.T, s storage.Store, _ *Clock) {
	g := group()
	put(t, s, g, 0, row("a", "1"), row("b", "1"), row("c", "1"))
	err := s.ChangeRows(t.Context(), g, []storage.Row{row("b", "2"), row("d", "2")}, [][]byte{[]byte("a"), []byte("b"), []byte("none")}, 0)
	if err != nil {
		t.Fatal(err)
	}
	same(t, scan(t, s, g, nil, nil, false), []string{"b=2", "c=1", "d=2"})
	for range 10 { // a removed row can be put at once, and a put one removed
		put(t, s, g, 0, row("a", "3"))
		same(t, scan(t, s, g, nil, []byte("b"), false), []string{"a=3"})
		if err := s.ChangeRows(t.Context(), g, nil, [][]byte{[]byte("a")}, 0); err != nil {
			t.Fatal(err)
		}
		same(t, scan(t, s, g, nil, []byte("b"), false), []string{})
	}
	if err := s.ChangeRows(t.Context(), g, nil, nil, 0); err != nil {
		t.Errorf("changing nothing: %v", err)
	}
}

func rowExpiry(t *testing.T, s storage.Store, clock *Clock) {
	g := group()
	put(t, s, g, time.Minute, row("minute", ""))
	put(t, s, g, time.Microsecond, row("instant", ""))
	put(t, s, g, 1<<62, row("ages", ""))
	put(t, s, g, 0, row("kept", ""))
	same(t, scan(t, s, g, nil, nil, false), []string{"ages=", "instant=", "kept=", "minute="})
	clock.Advance(time.Minute - time.Millisecond)
	same(t, scan(t, s, g, nil, nil, false), []string{"ages=", "kept=", "minute="})
	clock.Advance(time.Millisecond)
	same(t, scan(t, s, g, nil, nil, false), []string{"ages=", "kept="})
	same(t, scan(t, s, g, nil, nil, true), []string{"kept=", "ages="})
}

func rowExpiryRenewed(t *testing.T, s storage.Store, clock *Clock) {
	g := group()
	put(t, s, g, time.Minute, row("longer", ""), row("kept", ""))
	put(t, s, g, time.Hour, row("longer", ""), row("shorter", ""))
	put(t, s, g, 0, row("kept", ""))
	put(t, s, g, time.Minute, row("shorter", ""))
	clock.Advance(time.Minute)
	same(t, scan(t, s, g, nil, nil, false), []string{"kept=", "longer="})
	clock.Advance(time.Hour)
	same(t, scan(t, s, g, nil, nil, false), []string{"kept="})
}

func rowDelete(t *testing.T, s storage.Store, _ *Clock) {
	g := group()
	put(t, s, g, 0, row("a", ""), row("b", ""))
	put(t, s, g+"x", 0, row("a", ""))
	for range 2 {
		if err := s.DeleteRows(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		same(t, scan(t, s, g, nil, nil, false), []string{})
		same(t, scan(t, s, g+"x", nil, nil, false), []string{"a="})
	}
	put(t, s, g, 0, row("a", "again"))
	same(t, scan(t, s, g, nil, nil, false), []string{"a=again"})
}

func rowInvalid(t *testing.T, s storage.Store, _ *Clock) {
	g := group()
	long := strings.Repeat("x", 2049)
	for name, c := range map[string]struct {
		group  string
		put    storage.Row
		remove []byte
		ttl    time.Duration
	}{
		"no group":       {put: row("k", "")},
		"long group":     {group: long, put: row("k", "")},
		"no key":         {group: g, put: row("", "")},
		"long key":       {group: g, put: row(long, "")},
		"removes no key": {group: g, put: row("k", ""), remove: []byte{}},
		"removes long":   {group: g, put: row("k", ""), remove: []byte(long)},
		"negative":       {group: g, put: row("k", ""), ttl: -1},
		"too much":       {group: g, put: row("k", strings.Repeat("x", storage.MaxChangeBytes))},
	} {
		var remove [][]byte
		if c.remove != nil {
			remove = [][]byte{c.remove}
		}
		if err := s.ChangeRows(t.Context(), c.group, []storage.Row{row("good", ""), c.put}, remove, c.ttl); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	same(t, scan(t, s, g, nil, nil, false), []string{})
	put(t, s, strings.Repeat("g", 900)+g, 0, row(strings.Repeat("k", 2048), "longest"))
}

func rowMany(t *testing.T, s storage.Store, _ *Clock) {
	g := group()
	want := []string{}
	for part := range 10 {
		var rows []storage.Row
		for i := range 250 {
			rows = append(rows, row(fmt.Sprintf("%03d/%03d", part, i), strings.Repeat("b", i)))
			want = append(want, fmt.Sprintf("%03d/%03d=%s", part, i, strings.Repeat("b", i)))
		}
		put(t, s, g, 0, rows...)
	}
	put(t, s, g, 0, row("x", strings.Repeat("x", 1<<20)))
	want = append(want, "x="+strings.Repeat("x", 1<<20))
	same(t, scan(t, s, g, nil, nil, false), want)
	slices.Reverse(want)
	same(t, scan(t, s, g, nil, nil, true), want)
}

func rowBytes(t *testing.T, s storage.Store, _ *Clock) {
	g := group() + "\x00\xff\x01"
	var rows []storage.Row
	for i := range 256 {
		rows = append(rows, storage.Row{Key: []byte{byte(i)}, Body: []byte{byte(i), 0, byte(i)}})
	}
	put(t, s, g, 0, rows...)
	i := 0
	for r, err := range s.ScanRows(t.Context(), g, nil, nil, false) {
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Key, rows[i].Key) || !bytes.Equal(r.Body, rows[i].Body) {
			t.Errorf("row %d is %x=%x", i, r.Key, r.Body)
		}
		i++
	}
	same(t, i, 256)
}

func rowCancelled(t *testing.T, s storage.Store, _ *Clock) {
	g := group()
	put(t, s, g, 0, row("k", ""))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var scanned error
	for _, err := range s.ScanRows(ctx, g, nil, nil, false) {
		scanned = err
	}
	for _, err := range []error{scanned, s.ChangeRows(ctx, g, []storage.Row{row("l", "")}, nil, 0), s.DeleteRows(ctx, g)} {
		wantError(t, err, context.Canceled)
	}
	same(t, scan(t, s, g, nil, nil, false), []string{"k="})
}
