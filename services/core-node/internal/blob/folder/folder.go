// Package folder keeps blobs as files of a folder: of one process's own, or one that all core nodes share. A blob is written under a
// name of its own in writing/, synced, and moved to its place, so that no half blob is ever seen.
package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob"
)

// writing is the folder of what is not whole yet.
const writing = "writing"

// Options say where the blobs are.
type Options struct {
	Dir string // made when it is first needed
	// Reserve is how many bytes of the disk stay free; below, nothing is taken on.
	Reserve int64
	// Abandoned is how old a file that is being written may become: older ones, whose process has died, are removed by Sweep. 0: none are.
	Abandoned time.Duration
	Now       func() time.Time // nil: time.Now
}

// Folder is a blob.Store.
type Folder struct{ options Options }

var _ blob.Store = (*Folder)(nil)

// New returns the store of a folder, which is touched when it is first used.
func New(o Options) *Folder {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Folder{o}
}

// open opens the folder, making it when there is none.
func (f *Folder) open() (*os.Root, error) {
	if err := os.MkdirAll(path.Join(f.options.Dir, writing), 0o750); err != nil {
		return nil, away("make the folder", err)
	}
	root, err := os.OpenRoot(f.options.Dir)
	return root, away("open the folder", err)
}

// away gives a file system's error the kind that may pass.
func away(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %w", doing, blob.ErrUnavailable, err)
}

// Put implements blob.Store.
func (f *Folder) Put(ctx context.Context, name string, data io.Reader) error {
	if err := blob.CheckName(name); err != nil {
		return err
	}
	root, err := f.open()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // only read: nothing is lost with it
	part := path.Join(writing, ident.New().String())
	if err := f.write(ctx, root, part, data); err != nil {
		return errors.Join(err, ignoreMissing(root.Remove(part)))
	}
	folder := path.Dir(name)
	if err := root.MkdirAll(folder, 0o750); err != nil {
		return errors.Join(away("make the tenant's folder", err), root.Remove(part))
	}
	if err := root.Rename(part, name); err != nil {
		return errors.Join(away("move a blob to its place", err), root.Remove(part))
	}
	return errors.Join(sync(root, folder), sync(root, "."))
}

// write writes and syncs one file.
func (f *Folder) write(ctx context.Context, root *os.Root, part string, data io.Reader) error {
	file, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return away("make a file", err)
	}
	err = f.copy(ctx, file, data)
	if err == nil {
		err = away("sync a file", file.Sync())
	}
	return errors.Join(err, away("close a file", file.Close()))
}

// pieceBytes is how much is written before the disk's room is looked at again.
const pieceBytes = 1 << 20

func (f *Folder) copy(ctx context.Context, to io.Writer, data io.Reader) error {
	piece := make([]byte, pieceBytes)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.room(); err != nil {
			return err
		}
		n, err := blob.Fill(data, piece)
		if err != nil && err != io.EOF { //nolint:errorlint // Fill's own
			return fmt.Errorf("read the data: %w", err)
		}
		if _, err := to.Write(piece[:n]); err != nil {
			return away("write a file", err)
		}
		if err != nil {
			return nil
		}
	}
}

// room refuses when the disk has less left than is to stay free.
func (f *Folder) room() error {
	if f.options.Reserve <= 0 {
		return nil
	}
	usage, err := vfs.Default.GetDiskUsage(f.options.Dir)
	if err != nil {
		return away("ask for the disk's room", err)
	}
	if usage.AvailBytes < uint64(f.options.Reserve) {
		return fmt.Errorf("%w: %d bytes of the disk are left, %d are to stay free", blob.ErrUnavailable, usage.AvailBytes, f.options.Reserve)
	}
	return nil
}

// sync makes what was moved into a folder durable.
func sync(root *os.Root, folder string) error {
	dir, err := root.Open(folder)
	if err != nil {
		return away("open a folder", err)
	}
	return errors.Join(away("sync a folder", dir.Sync()), dir.Close())
}

// ReadAt implements blob.Store.
func (f *Folder) ReadAt(_ context.Context, name string, p []byte, offset int64) (int, error) {
	if err := blob.CheckName(name); err != nil {
		return 0, err
	}
	root, err := os.OpenRoot(f.options.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%w: %s", blob.ErrNotFound, name)
	}
	if err != nil {
		return 0, away("open the folder", err)
	}
	defer func() { _ = root.Close() }() // only read: nothing is lost with it
	file, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%w: %s", blob.ErrNotFound, name)
	}
	if err != nil {
		return 0, away("open a file", err)
	}
	defer file.Close()
	n, err := file.ReadAt(p, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, away("read a file", err)
}

// Delete implements blob.Store.
func (f *Folder) Delete(_ context.Context, name string) error {
	if err := blob.CheckName(name); err != nil {
		return err
	}
	root, err := os.OpenRoot(f.options.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return away("open the folder", err)
	}
	defer func() { _ = root.Close() }() // only read: nothing is lost with it
	return away("remove a file", ignoreMissing(root.Remove(name)))
}

// Sweep removes what processes that died have left half written, and says how many files that were.
func (f *Folder) Sweep(context.Context) (removed int, err error) {
	if f.options.Abandoned <= 0 {
		return 0, nil
	}
	root, err := os.OpenRoot(f.options.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, away("open the folder", err)
	}
	defer func() { _ = root.Close() }() // only read: nothing is lost with it
	parts, err := fs.ReadDir(root.FS(), writing)
	if err != nil {
		return 0, away("list what is being written", ignoreMissing(err))
	}
	for _, part := range parts {
		info, err := part.Info()
		if err != nil || f.options.Now().Sub(info.ModTime()) < f.options.Abandoned {
			continue // gone, or still under way
		}
		if err := ignoreMissing(root.Remove(path.Join(writing, part.Name()))); err != nil {
			return removed, away("remove a file", err)
		}
		removed++
	}
	return removed, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
