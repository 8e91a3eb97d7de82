package pebble

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// fullDisk has no room for new tables while full.
type fullDisk struct {
	vfs.FS
	full atomic.Bool
}

func (d *fullDisk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if d.full.Load() && strings.HasSuffix(name, ".sst") {
		return nil, syscall.ENOSPC
	}
	return d.FS.Create(name, category)
}

func TestFullDiskEndsTheService(t *testing.T) {
	disk := &fullDisk{FS: vfs.NewMem()}
	told := make(chan error, 2)
	s, err := Open(Options{Dir: "store", FS: disk, Fatal: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	batch := []storage.Write{{
		Entity: ident.EntityID{Type: ident.Device, ID: ident.New()}, Time: 1, Stamp: 1,
		Values: []telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(1)}},
	}}
	if err := s.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	disk.full.Store(true)
	flushed, err := s.db.AsyncFlush()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-told; !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("told of %v", err)
	}
	for _, err := range []error{s.Ready(), s.Write(t.Context(), batch)} {
		if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("error is %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if len(told) != 0 {
		t.Errorf("told again of %v", <-told)
	}
	disk.full.Store(false) // the engine, left as it was, gets over it: the test leaves nothing running
	<-flushed
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
}
