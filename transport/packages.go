package transport

import (
	"context"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// FindPackage implements Packages.
func (t *Transport) FindPackage(ctx context.Context, d *Device, kind sluicepb.PackageType) (Package, error) {
	now := time.Now()
	if !d.allowMessage(now) {
		return Package{}, ErrRateLimited
	}
	t.activity.note(d, now)
	answer, err := t.call(ctx, "find_package", d.ID.ID[:], &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_FindPackage{
		FindPackage: &sluicepb.FindPackage{TenantId: d.Tenant.ID[:], DeviceId: d.ID.ID[:], Type: kind},
	}})
	if err != nil {
		return Package{}, err
	}
	p := answer.GetPackage()
	id, err := ident.FromBytes(p.GetPackageId())
	if err != nil || p == nil || p.GetSize() < 0 {
		return Package{}, fault.Wrap(fault.Internal, "read the package found", err)
	}
	return Package{
		ID: id, Tenant: d.Tenant, Title: p.GetTitle(), Version: p.GetVersion(), Size: p.GetSize(),
		FileName: p.GetFileName(), ContentType: p.GetContentType(), URL: p.GetUrl(),
	}, nil
}

// ReadPackage implements Packages.
func (t *Transport) ReadPackage(ctx context.Context, p Package, offset, length int64) ([]byte, error) {
	if offset < 0 || length <= 0 || offset >= p.Size {
		return nil, nil
	}
	end := p.Size
	if length < p.Size-offset {
		end = offset + length
	}
	var whole []byte
	for at := offset; at < end; {
		part, err := t.parts.get(ctx, p, at/partBytes)
		if err != nil {
			return nil, err
		}
		from := at % partBytes
		to := min(int64(len(part)), end-at+from)
		if at == offset && at+to-from == end {
			return part[from:to], nil
		}
		whole = append(whole, part[from:to]...)
		at += to - from
	}
	return whole, nil
}
