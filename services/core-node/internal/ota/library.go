// Package ota keeps firmware and software: the data of OTA packages in a store of blobs, what is said of it in their documents, and
// which devices have been given them.
//
// A package's document names its blob; a blob that no document names is removed in time. What is yet to be done is noted in the journal
// before the first step, so that whatever dies midway is taken up by the owner of the partition.
package ota

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Options is what a Library works with.
type Options struct {
	Blobs blob.Store
	// NoUploads says why nothing can be uploaded, in words for operators; "" when it can.
	NoUploads string
	Rows      storage.Rows
	Values    storage.Telemetry // read only: writes go through Writer
	Writer    telemetry.Writer
	// Partitions is how many the journal is spread over.
	Partitions int
	Settings   Settings
	Log        *slog.Logger
	Metrics    *Metrics
	Now        func() time.Time // nil: time.Now
}

// Library is the packages of all tenants. Safe for concurrent use.
type Library struct {
	o        Options
	journal  journal
	entities *entity.Registry
	uploads  chan struct{}
	wake     chan struct{}
}

// New returns a Library that is told of its entities by Over, before its first use.
func New(o Options) *Library {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Library{o: o, journal: journal{o.Rows, o.Partitions}, uploads: make(chan struct{}, o.Settings.Uploads), wake: make(chan struct{}, 1)}
}

// Over says which entities the packages are among.
func (l *Library) Over(entities *entity.Registry) { l.entities = entities }

// Settings are the bounds of uploads.
func (l *Library) Settings() Settings { return l.o.Settings }

// Upload is data that comes for a package.
type Upload struct {
	FileName, ContentType string
	Algorithm             string // of the checksum
	Checksum              string // hexadecimal; "" leaves it to be computed
	Data                  io.Reader
}

// uploadGrace is how long after the longest upload its blob may still be waited for by its document.
const uploadGrace = time.Hour

// Upload stores the data of a package that has none and returns the package when both are durable. The same data once more is success.
// Errors are of kind Invalid, NotFound, Limited or Unavailable, or Data's own.
func (l *Library) Upload(ctx context.Context, tenant ident.TenantID, id ident.ID, u Upload) (entity.Package, error) {
	sum, err := newChecksum(u.Algorithm)
	switch {
	case err != nil:
		return entity.Package{}, err
	case l.o.NoUploads != "":
		return entity.Package{}, fault.New(fault.Invalid, l.o.NoUploads)
	case u.FileName == "":
		return entity.Package{}, fault.New(fault.Invalid, "OTA package file name should be specified!")
	}
	select {
	case l.uploads <- struct{}{}:
		defer func() { <-l.uploads }()
	default:
		return entity.Package{}, fault.New(fault.Limited, "Too many OTA packages are being uploaded")
	}
	p, err := l.entities.Packages.Get(ctx, tenant, id)
	switch {
	case err != nil:
		return p, err
	case p.URL != "":
		return p, fault.New(fault.Invalid, "OTA package has a URL: it takes no data")
	}
	data := entity.PackageData{
		Blob: tenant.String() + "/" + ident.New().String(), FileName: u.FileName, ContentType: u.ContentType, ChecksumAlgorithm: u.Algorithm,
	}
	noted := task{Kind: blobTask, Tenant: tenant, ID: id, Blob: data.Blob}
	key, err := l.journal.note(ctx, noted, l.o.Now().Add(l.o.Settings.UploadTimeout+uploadGrace))
	if err != nil {
		return p, err
	}
	counted := &counter{from: io.TeeReader(u.Data, sum)}
	err, named := unavailable("store the data of an OTA package", l.o.Blobs.Put(ctx, data.Blob, counted)), false
	if err == nil {
		data.Size = counted.bytes
		data.Checksum, err = verify(sum.Sum(nil), u.Checksum)
	}
	if err == nil {
		p, err = l.entities.Packages.Complete(ctx, tenant, id, data)
		named = err == nil && p.Data.Blob == data.Blob || unclear(err)
	}
	if !named || err == nil {
		l.settle(ctx, noted, key, named)
	}
	if err == nil {
		l.o.Metrics.uploaded(data.Size)
	}
	return p, err
}

// unclear reports whether a document may have been changed although err was returned.
func unclear(err error) bool {
	kind := fault.KindOf(err)
	return err != nil && kind != fault.Invalid && kind != fault.NotFound && kind != fault.Conflict
}

// settleWithin bounds the tidying after an upload, which the uploader may not have waited for.
const settleWithin = 10 * time.Second

// settle removes what an upload has left: its entry of the journal, and, when no document names it, its blob. Where it fails the entry
// stays, and decides later.
func (l *Library) settle(ctx context.Context, noted task, key []byte, named bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	var err error
	if !named {
		err = l.o.Blobs.Delete(ctx, noted.Blob)
	}
	if err == nil {
		err = l.journal.done(ctx, noted, key)
	}
	if err != nil {
		l.o.Log.Warn("tidy after an upload; it is tried again later", "blob", noted.Blob, "err", err)
	}
}

// counter counts what is read.
type counter struct {
	from  io.Reader
	bytes int64
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.bytes += int64(n)
	return n, err
}

// Of returns the package of a type that a device has: its own, else its profile's. None is fault.NotFound.
func (l *Library) Of(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, t entity.PackageType) (entity.Package, error) {
	d, err := l.entities.Devices.Device(ctx, tenant, device)
	if err != nil {
		return entity.Package{}, err
	}
	return l.entities.Packages.PackageOf(ctx, d, t)
}

// Read returns the bytes [offset, offset+length) of a tenant's package, fewer at its end. A package without data here is fault.NotFound.
func (l *Library) Read(ctx context.Context, tenant ident.TenantID, id ident.ID, offset int64, length int) ([]byte, error) {
	p, err := l.entities.Packages.Get(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	if !p.Data.Here() {
		return nil, fault.New(fault.NotFound, "OTA package has no data")
	}
	if offset < 0 || length < 0 {
		return nil, fault.New(fault.Invalid, "offset and length must not be negative")
	}
	return l.read(ctx, p.Data, offset, length)
}

func (l *Library) read(ctx context.Context, d entity.PackageData, offset int64, length int) ([]byte, error) {
	if offset >= d.Size {
		return nil, nil
	}
	data := make([]byte, min(int64(length), d.Size-offset))
	n, err := l.o.Blobs.ReadAt(ctx, d.Blob, data, offset)
	if err == nil && n < len(data) {
		err = fmt.Errorf("%w: %s ends at %d of %d bytes", blob.ErrNotFound, d.Blob, offset+int64(n), d.Size)
	}
	if err != nil {
		return nil, unavailable("read the data of an OTA package", err)
	}
	l.o.Metrics.read(n)
	return data, nil
}

// unavailable gives a failure of the store of blobs its kind. A blob that its document names and that is not there is the platform's
// fault as well: a folder that is not the one the data was put into.
func unavailable(doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, blob.ErrUnavailable) || errors.Is(err, blob.ErrNotFound) {
		return fault.Wrap(fault.Unavailable, doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// EntityDeleted implements entity.Attached: a package's data goes after it.
func (l *Library) EntityDeleted(ctx context.Context, tenant ident.TenantID, e ident.EntityID) error {
	if e.Type != ident.OTAPackage {
		return nil
	}
	p, err := l.entities.Packages.Get(ctx, tenant, e.ID)
	if errors.Is(err, storage.ErrNotFound) || err == nil && !p.Data.Here() {
		return nil
	}
	if err == nil {
		_, err = l.journal.note(ctx, task{Kind: blobTask, Tenant: tenant, ID: p.ID, Blob: p.Data.Blob}, l.o.Now().Add(deleteGrace))
	}
	return err
}

// deleteGrace is how long a package's document may take to go after its data was noted for it.
const deleteGrace = 5 * time.Minute
