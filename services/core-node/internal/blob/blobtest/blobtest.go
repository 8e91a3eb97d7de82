// Package blobtest is the suite that every store of blobs passes.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/sluice-iot/sluice/services/core-node/internal/blob"
)

// Test runs the suite; open returns a new, empty store.
func Test(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, blob.Store)
	}{
		{"what was put is read", reads},
		{"at every offset", offsets},
		{"a failed put leaves nothing", failedPut},
		{"deleted", deleted},
		{"names", badNames},
		{"many at once", manyAtOnce},
		{"swept while it is written", sweptMeanwhile},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// Data returns size bytes that look like nothing, the same for a seed.
func Data(size int, seed uint64) []byte {
	data := make([]byte, size)
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = random.Read(data) // never fails
	return data
}

func put(t *testing.T, s blob.Store, name string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, bytes.NewReader(data)); err != nil {
		t.Fatalf("put %d bytes: %v", len(data), err)
	}
}

// all reads a blob from its beginning to its end, piece by piece.
func all(t *testing.T, s blob.Store, name string, piece int) []byte {
	t.Helper()
	var read []byte
	for p := make([]byte, piece); ; {
		n, err := s.ReadAt(t.Context(), name, p, int64(len(read)))
		if err != nil {
			t.Fatalf("read at %d: %v", len(read), err)
		}
		if read = append(read, p[:n]...); n < len(p) {
			return read
		}
	}
}

func reads(t *testing.T, s blob.Store) {
	for i, size := range []int{0, 1, 1000, 1 << 20, 5<<20 + 7, 8 << 20} {
		name, data := "tenant/"+string(rune('a'+i)), Data(size, uint64(i))
		put(t, s, name, data)
		if got := all(t, s, name, 300_000); !bytes.Equal(got, data) {
			t.Errorf("%d bytes: read %d, not the same", size, len(got))
		}
	}
}

func offsets(t *testing.T, s blob.Store) {
	data := Data(4<<20+100, 1)
	put(t, s, "tenant/blob", data)
	for _, c := range []struct{ offset, length, want int }{
		{0, 10, 10},
		{10, 0, 0},
		{1000, 262_144, 262_144},
		{4<<20 - 5, 10, 10},
		{len(data) - 3, 10, 3},
		{len(data), 10, 0},
		{len(data) + 1<<20, 10, 0},
		{0, len(data) + 1, len(data)},
	} {
		p := make([]byte, c.length)
		n, err := s.ReadAt(t.Context(), "tenant/blob", p, int64(c.offset))
		if err != nil || n != c.want || n > 0 && !bytes.Equal(p[:n], data[c.offset:c.offset+n]) {
			t.Errorf("%d bytes from %d: %d bytes, %v; want %d", c.length, c.offset, n, err, c.want)
		}
	}
}

var errBroken = errors.New("the sender is gone")

func failedPut(t *testing.T, s blob.Store) {
	for name, data := range map[string]io.Reader{
		"tenant/at-once":  iotest.ErrReader(errBroken),
		"tenant/later":    io.MultiReader(bytes.NewReader(Data(9<<20, 1)), iotest.ErrReader(errBroken)),
		"tenant/half-way": io.MultiReader(bytes.NewReader(Data(1000, 1)), iotest.ErrReader(io.ErrUnexpectedEOF)),
	} {
		if err := s.Put(t.Context(), name, data); !errors.Is(err, errBroken) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: put: %v, want the sender's error", name, err)
		}
		if n, err := s.ReadAt(t.Context(), name, make([]byte, 10), 0); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%s: read %d bytes, %v; want none", name, n, err)
		}
	}
}

func deleted(t *testing.T, s blob.Store) {
	put(t, s, "tenant/one", Data(9<<20, 1))
	put(t, s, "tenant/two", Data(10, 2))
	for range 2 {
		if err := s.Delete(t.Context(), "tenant/one"); err != nil {
			t.Fatalf("delete: %v", err)
		}
		if _, err := s.ReadAt(t.Context(), "tenant/one", make([]byte, 1), 0); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("read what was deleted: %v", err)
		}
	}
	if err := s.Delete(t.Context(), "nobody/nothing"); err != nil {
		t.Errorf("delete what never was: %v", err)
	}
	if got := all(t, s, "tenant/two", 100); !bytes.Equal(got, Data(10, 2)) {
		t.Errorf("the other has %d bytes, or other ones", len(got))
	}
}

func badNames(t *testing.T, s blob.Store) {
	for _, name := range []string{"", "alone", "/root", "../etc/passwd", "a/../../b", "a/b/c", "a/.", "A/b", "a/b\x00", "writing", "a/", "a/b?x"} {
		_, readErr := s.ReadAt(t.Context(), name, make([]byte, 1), 0)
		for doing, err := range map[string]error{
			"put": s.Put(t.Context(), name, bytes.NewReader(nil)), "read": readErr, "delete": s.Delete(t.Context(), name),
		} {
			if !errors.Is(err, blob.ErrName) {
				t.Errorf("%s %q: %v", doing, name, err)
			}
		}
	}
}

func manyAtOnce(t *testing.T, s blob.Store) {
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			name, data := "tenant/n"+string(rune('a'+i)), Data(100_000+i, uint64(i))
			if err := s.Put(t.Context(), name, bytes.NewReader(data)); err != nil {
				t.Errorf("put: %v", err)
				return
			}
			got := make([]byte, len(data))
			if n, err := s.ReadAt(t.Context(), name, got, 0); err != nil || n != len(data) || !bytes.Equal(got, data) {
				t.Errorf("%s: read %d bytes, %v", name, n, err)
			}
		})
	}
	group.Wait()
}

// sweptMeanwhile: what a living process is writing is not taken for what a dead one left.
func sweptMeanwhile(t *testing.T, s blob.Store) {
	sweeper, ok := s.(interface {
		Sweep(ctx context.Context) (removed int, err error)
	})
	if !ok {
		t.Fatalf("%T is not swept", s)
	}
	data := Data(9<<20, 1)
	sweep := readerFunc(func([]byte) (int, error) {
		if n, err := sweeper.Sweep(t.Context()); n != 0 || err != nil {
			t.Errorf("swept %d, %v", n, err)
		}
		return 0, io.EOF
	})
	if err := s.Put(t.Context(), "tenant/blob", io.MultiReader(bytes.NewReader(data), sweep)); err != nil {
		t.Fatalf("put: %v", err)
	}
	if got := all(t, s, "tenant/blob", 1<<20); !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, not the same", len(got))
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
