package folder_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/blob"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob/blobtest"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob/folder"
)

func TestFolder(t *testing.T) {
	blobtest.Test(t, func(t *testing.T) blob.Store {
		return folder.New(folder.Options{Dir: filepath.Join(t.TempDir(), "not", "there", "yet"), Reserve: 1})
	})
}

// files are all files below a folder.
func files(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestADiskAlmostFullTakesNothing: what is to stay free stays free, and nothing is left behind.
func TestADiskAlmostFullTakesNothing(t *testing.T) {
	dir := t.TempDir()
	f := folder.New(folder.Options{Dir: dir, Reserve: math.MaxInt64})
	if err := f.Put(t.Context(), "tenant/blob", bytes.NewReader(make([]byte, 10))); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("put: %v", err)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestWhatADeadProcessLeftIsSwept: a file being written is left alone until it is old; whole blobs always are.
func TestWhatADeadProcessLeftIsSwept(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	f := folder.New(folder.Options{Dir: dir, Abandoned: time.Hour, Now: func() time.Time { return now }})
	if n, err := f.Sweep(t.Context()); n != 0 || err != nil {
		t.Fatalf("sweep an empty folder: %d, %v", n, err)
	}
	if err := f.Put(t.Context(), "tenant/whole", bytes.NewReader([]byte("data"))); err != nil {
		t.Fatal(err)
	}
	// A process that dies while it writes: the file stays as it is, unseen.
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- f.Put(t.Context(), "tenant/half", reader) }()
	if _, err := writer.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	half := ""
	for _, file := range files(t, filepath.Join(dir, "writing")) {
		half = file
	}
	copied := filepath.Join(dir, "writing", "of-a-dead-process")
	if err := os.Link(half, copied); err != nil {
		t.Fatal(err)
	}
	writer.CloseWithError(errors.New("gone"))
	<-ended
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{time.Minute, 0}, {2 * time.Hour, 1}, {3 * time.Hour, 0}} {
		now = time.Now().Add(c.after)
		if n, err := f.Sweep(t.Context()); n != c.want || err != nil {
			t.Errorf("after %v: swept %d, %v; want %d", c.after, n, err, c.want)
		}
	}
	if left := files(t, dir); len(left) != 1 || filepath.Base(left[0]) != "whole" {
		t.Errorf("left: %v", left)
	}
}
