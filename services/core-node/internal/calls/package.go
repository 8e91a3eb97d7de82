package calls

import (
	"context"
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// mostRead is how many bytes of a package one call may ask for.
const mostRead = 262_144

// Packages is what calls ask of firmware and software. Not found is fault.NotFound.
type Packages interface {
	// Of returns the package of a type that a device has: its own, else its profile's.
	Of(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, t entity.PackageType) (entity.Package, error)
	// Read returns the bytes [offset, offset+length) of a tenant's package, fewer at its end.
	Read(ctx context.Context, tenant ident.TenantID, id ident.ID, offset int64, length int) ([]byte, error)
}

func (c Calls) findPackage(ctx context.Context, q *sluicepb.FindPackage) (*sluicepb.TransportAnswer, error) {
	tenant, device, err := owned(q.GetTenantId(), q.GetDeviceId())
	if err != nil {
		return nil, err
	}
	kind := entity.Firmware
	if q.GetType() == sluicepb.PackageType_SOFTWARE {
		kind = entity.Software
	}
	p, err := c.Packages.Of(ctx, tenant, ident.DeviceID{ID: device}, kind)
	if err != nil {
		return nil, kept("find a package", err)
	}
	return &sluicepb.TransportAnswer{Package: &sluicepb.PackageInfo{
		PackageId: p.ID[:], Title: p.Title, Version: p.Version, Size: p.Data.Size,
		FileName: p.Data.FileName, ContentType: p.Data.ContentType, Url: p.URL,
	}}, nil
}

func (c Calls) readPackage(ctx context.Context, q *sluicepb.ReadPackage) (*sluicepb.TransportAnswer, error) {
	tenant, id, err := owned(q.GetTenantId(), q.GetPackageId())
	if err != nil {
		return nil, err
	}
	if q.GetOffset() < 0 || q.GetLength() < 0 || q.GetLength() > mostRead {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("read a package: %d bytes from %d, at most %d are given", q.GetLength(), q.GetOffset(), mostRead))
	}
	data, err := c.Packages.Read(ctx, tenant, id, q.GetOffset(), int(q.GetLength()))
	return &sluicepb.TransportAnswer{Data: data}, kept("read a package", err)
}

// owned reads the ids of a tenant and of what it has; neither may be missing.
func owned(tenant, id []byte) (ident.TenantID, ident.ID, error) {
	of, err := ident.FromBytes(tenant)
	if err == nil && len(tenant) == 0 {
		err = fmt.Errorf("no tenant")
	}
	if err != nil {
		return ident.TenantID{}, ident.ID{}, fault.Wrap(fault.Invalid, "read a call", err)
	}
	what, err := ident.FromBytes(id)
	if err != nil {
		return ident.TenantID{}, ident.ID{}, fault.Wrap(fault.Invalid, "read a call", err)
	}
	return ident.TenantID{ID: of}, what, nil
}

// kept keeps the kind of an error that has one; what the store fails with otherwise may pass.
func kept(doing string, err error) error {
	if err == nil {
		return nil
	}
	kind := fault.KindOf(err)
	if kind == fault.Internal {
		kind = fault.Unavailable
	}
	return fault.Wrap(kind, doing, err)
}
