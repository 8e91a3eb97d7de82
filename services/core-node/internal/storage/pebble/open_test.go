package pebble_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
)

func one(e ident.EntityID, at int64) []storage.Write {
	return []storage.Write{{Entity: e, Time: at, Stamp: at, Values: []telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(at)}}}}
}

func TestReopenedStoreHasWhatWasWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	e := ident.EntityID{Type: ident.Device, ID: ident.New()}
	for at := range int64(3) {
		s, err := pebble.Open(pebble.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Write(t.Context(), one(e, at)); err != nil {
			t.Fatal(err)
		}
		found, err := s.Latest(t.Context(), e, nil)
		if err != nil || len(found) != 1 || found[0].Time != at {
			t.Fatalf("latest is %v, %v", found, err)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Run("open already", func(t *testing.T) {
		dir := t.TempDir()
		open(t, pebble.Options{Dir: dir})
		_, err := pebble.Open(pebble.Options{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "lock") {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		dir := t.TempDir()
		s, err := pebble.Open(pebble.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		manifests, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
		if err != nil || len(manifests) == 0 {
			t.Fatalf("no manifests: %v", err)
		}
		for _, m := range manifests {
			if err := os.WriteFile(m, bytes.Repeat([]byte("damaged"), 100), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err = pebble.Open(pebble.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("not a folder", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := pebble.Open(pebble.Options{Dir: file}); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("error is %v", err)
		}
	})
}

func TestClosedStoreRefuses(t *testing.T) {
	s := open(t, pebble.Options{FS: vfs.NewMem()})
	e := ident.EntityID{Type: ident.Device, ID: ident.New()}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, latest := s.Latest(t.Context(), e, nil)
	_, get := s.Get(t.Context(), ident.TenantID{}, e)
	for _, err := range []error{s.Write(t.Context(), one(e, 1)), latest, get, s.DeleteEntity(t.Context(), e)} {
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("error is %v", err)
		}
	}
}

func TestLittleDiskLeftIsUnavailable(t *testing.T) {
	disk := vfs.NewMem()
	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 300 << 20})
	s := open(t, pebble.Options{FS: disk, DiskReserve: 256 << 20})
	e := ident.EntityID{Type: ident.Device, ID: ident.New()}
	d := storage.Document{ID: e, Body: []byte("{}")}
	if err := errors.Join(s.Ready(), s.Write(t.Context(), one(e, 1)), s.Create(t.Context(), d)); err != nil {
		t.Fatal(err)
	}
	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 200 << 20})
	d.Version = 1
	_, update := s.Update(t.Context(), d)
	for _, err := range []error{s.Ready(), s.Write(t.Context(), one(e, 2)), update} {
		if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "200 MB") {
			t.Errorf("error is %v", err)
		}
	}
	if found, err := s.Latest(t.Context(), e, nil); err != nil || len(found) != 1 {
		t.Errorf("reading on a full disk: %v, %v", found, err)
	}
	if err := s.DeleteEntity(t.Context(), e); err != nil {
		t.Errorf("deleting on a full disk: %v", err)
	}
	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 300 << 20})
	if err := errors.Join(s.Ready(), s.Write(t.Context(), one(e, 3))); err != nil {
		t.Errorf("after room was made: %v", err)
	}
}

func TestEngineLogsAtDebug(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	level.Set(slog.LevelInfo)
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))
	open(t, pebble.Options{FS: vfs.NewMem(), Log: log})
	if out.Len() > 0 {
		t.Errorf("opening a store logs %s", out.String())
	}
}

func TestFiguresAreGone(t *testing.T) {
	registry := prometheus.NewRegistry()
	for range 2 {
		s, err := pebble.Open(pebble.Options{Dir: "store", FS: vfs.NewMem(), Metrics: registry})
		if err != nil {
			t.Fatal(err)
		}
		if found, err := registry.Gather(); err != nil || len(found) != 4 {
			t.Errorf("%d figures, %v", len(found), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if found, err := registry.Gather(); err != nil || len(found) != 0 {
			t.Errorf("%d figures of a closed store, %v", len(found), err)
		}
	}
}
