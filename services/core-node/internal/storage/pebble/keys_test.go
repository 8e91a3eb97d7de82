package pebble

import (
	"bytes"
	"cmp"
	"math"
	"testing"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// FuzzHistoryKey holds keys to sorting as day, name and time do, to coming back, and to none being
// the beginning of another.
func FuzzHistoryKey(f *testing.F) {
	f.Add("temperature", int64(0), "temperature", int64(1))
	f.Add("a", int64(-1), "a\x00", int64(math.MinInt64))
	f.Add("\x00\x01", int64(math.MaxInt64), "\x00\xff", int64(math.MaxInt64-1))
	f.Fuzz(func(t *testing.T, nameA string, timeA int64, nameB string, timeB int64) {
		e := ident.EntityID{Type: ident.Device, ID: ident.ID{0xFF, 0, 1}}
		dayA, restA := split(timeA)
		dayB, restB := split(timeB)
		if join(dayA, restA) != timeA {
			t.Fatalf("time %d comes back as %d", timeA, join(dayA, restA))
		}
		a, b := appendHistory(nil, e, dayA, nameA, restA), appendHistory(nil, e, dayB, nameB, restB)
		if got, err := readHistory(a); err != nil || got != timeA {
			t.Fatalf("time %d is read as %d, %v", timeA, got, err)
		}
		want := cmp.Or(cmp.Compare(dayA, dayB), cmp.Compare(nameA, nameB), cmp.Compare(restA, restB))
		if got := bytes.Compare(a, b); got != want {
			t.Fatalf("%q@%d and %q@%d sort %d, want %d", nameA, timeA, nameB, timeB, got, want)
		}
		name, rest, err := readName(appendName(nil, nameA))
		if err != nil || name != nameA || len(rest) != 0 {
			t.Fatalf("name %q comes back as %q, %q, %v", nameA, name, rest, err)
		}
		if nameA != nameB && bytes.HasPrefix(appendName(nil, nameA), appendName(nil, nameB)) {
			t.Fatalf("%q begins with %q", nameA, nameB)
		}
	})
}

// FuzzStored reads what a damaged file may hold: an error at most.
func FuzzStored(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add(appendExpiry(nil, 7, ident.EntityID{Type: ident.Device}, 3), encodeDocument(storage.Document{Version: 3, Claims: []string{"c"}, Body: []byte("{}")}))
	f.Add(appendName(nil, "a\x00b"), []byte{byte(telemetry.Long) | expires, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if name, rest, err := readName(key); err == nil {
			if again := append(appendName(nil, name), rest...); !bytes.Equal(again, key) {
				t.Fatalf("%x is read as %q and written as %x", key, name, again)
			}
		}
		if expiry, e, d, err := readExpiry(key); err == nil && key[0] == tableExpiry {
			if again := appendExpiry(nil, expiry, e, d); !bytes.Equal(again, key) {
				t.Fatalf("%x is written again as %x", key, again)
			}
		}
		if v, expiry, err := readValue(value); err == nil && v.Kind != telemetry.Bool {
			size := 1 + payloadBytes(v)
			if value[0]&expires != 0 {
				size += expiryBytes
			}
			if expiry == 0 && value[0]&expires != 0 {
				return // no writer says so
			}
			again := make([]byte, size)
			if putValue(again, v, expiry); !bytes.Equal(again, value) {
				t.Fatalf("%x is written again as %x", value, again)
			}
		}
		_, _ = readHistory(key)
		_, _, _ = readLatest(value)
		_, _, _ = readAttribute(value)
		if d, err := decodeDocument(appendDocument(nil, ident.TenantID{}, ident.EntityID{}), bytes.Clone(value)); err == nil {
			back, err := decodeDocument(appendDocument(nil, ident.TenantID{}, ident.EntityID{}), encodeDocument(d))
			if err != nil || back.Version != d.Version || len(back.Claims) != len(d.Claims) || !bytes.Equal(back.Body, d.Body) {
				t.Fatalf("%+v comes back as %+v, %v", d, back, err)
			}
		}
	})
}

// FuzzMerge holds the merge to giving the same whatever the order in which operands meet.
func FuzzMerge(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x01a"), []byte("\x00\x00\x00\x00\x00\x00\x00\x02b"), []byte("\x00\x00\x00\x00\x00\x00\x00\x02c"))
	f.Fuzz(func(t *testing.T, oldest, middle, newest []byte) {
		key := []byte{tableHistory}
		merge := func(start []byte, f func(*winner) error) ([]byte, error) {
			m, err := merger().Merge(key, start)
			if err != nil {
				return nil, err
			}
			if err := f(m.(*winner)); err != nil {
				return nil, err
			}
			value, _, err := m.Finish(true)
			return value, err
		}
		up, errUp := merge(oldest, func(w *winner) error {
			if err := w.MergeNewer(middle); err != nil {
				return err
			}
			return w.MergeNewer(newest)
		})
		down, errDown := merge(newest, func(w *winner) error {
			if err := w.MergeOlder(middle); err != nil {
				return err
			}
			return w.MergeOlder(oldest)
		})
		if (errUp == nil) != (errDown == nil) || !bytes.Equal(up, down) {
			t.Fatalf("upwards %x, %v; downwards %x, %v", up, errUp, down, errDown)
		}
	})
}
