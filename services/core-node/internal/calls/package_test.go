package calls_test

import (
	"bytes"
	"testing"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob/blobtest"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/ota"
)

// shelf is packages of one tenant, and calls that find them.
type shelf struct {
	*platform
	profile entity.Profile
}

func newShelf(t *testing.T) shelf {
	t.Helper()
	p := start(t)
	profile, err := p.DeviceProfiles.Default(t.Context(), p.tenant)
	if err != nil {
		t.Fatal(err)
	}
	return shelf{p, profile}
}

// pack makes a package; without data it has a URL.
func (s shelf) pack(t *testing.T, kind entity.PackageType, title string, data []byte) entity.Package {
	t.Helper()
	p := entity.Package{Tenant: s.tenant, Profile: s.profile.ID, Type: kind, Title: title, Version: "1.0"}
	if data == nil {
		p.URL = "https://example.org/" + title
	}
	p, err := s.Packages.Create(t.Context(), p)
	if err == nil && data != nil {
		u := ota.Upload{FileName: title + ".bin", ContentType: "application/x", Algorithm: "SHA256", Data: bytes.NewReader(data)}
		p, err = s.library.Upload(t.Context(), s.tenant, p.ID, u)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s shelf) given(t *testing.T, name string, firmware, software entity.Package) entity.Device {
	t.Helper()
	return s.device(t, entity.Device{Name: name, Firmware: firmware.ID, Software: software.ID}, nil)
}

// follow gives the profile's devices packages.
func (s shelf) follow(t *testing.T, firmware entity.Package) {
	t.Helper()
	p, err := s.DeviceProfiles.Get(t.Context(), s.tenant, s.profile.ID)
	if err == nil {
		p.Body = bytes.Replace(p.Body, []byte(`"firmwareId":null`), []byte(`"firmwareId":{"entityType":"OTA_PACKAGE","id":"`+firmware.ID.String()+`"}`), 1)
		_, err = s.DeviceProfiles.Update(t.Context(), p)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s shelf) find(t *testing.T, tenant ident.TenantID, d ident.DeviceID, kind sluicepb.PackageType) *sluicepb.TransportAnswer {
	t.Helper()
	return ask(t, s.client, &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_FindPackage{
		FindPackage: &sluicepb.FindPackage{TenantId: tenant.ID[:], DeviceId: d.ID[:], Type: kind},
	}})
}

func (s shelf) read(t *testing.T, tenant ident.TenantID, id ident.ID, offset int64, length int32) *sluicepb.TransportAnswer {
	t.Helper()
	return ask(t, s.client, &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ReadPackage{
		ReadPackage: &sluicepb.ReadPackage{TenantId: tenant.ID[:], PackageId: id[:], Offset: offset, Length: length},
	}})
}

// TestWhichPackageADeviceHas: its own before its profile's, of the type asked for; M81, H19 and C16 rest on what is not found.
func TestWhichPackageADeviceHas(t *testing.T) {
	s := newShelf(t)
	firmware, software := sluicepb.PackageType_FIRMWARE, sluicepb.PackageType_SOFTWARE
	shared, own := s.pack(t, entity.Firmware, "shared", []byte("data")), s.pack(t, entity.Firmware, "own", []byte("own data"))
	linked := s.pack(t, entity.Software, "linked", nil)
	plain, rich := s.given(t, "plain", entity.Package{}, entity.Package{}), s.given(t, "rich", own, linked)
	if got := s.find(t, s.tenant, plain.ID, firmware); fault.Kind(got.GetFault().GetKind()) != fault.NotFound {
		t.Errorf("M81 nothing assigned: %v", got)
	}
	s.follow(t, shared)
	for _, c := range []struct {
		device ident.DeviceID
		kind   sluicepb.PackageType
		want   entity.Package
	}{{plain.ID, firmware, shared}, {rich.ID, firmware, own}, {rich.ID, software, linked}} {
		got := s.find(t, s.tenant, c.device, c.kind).GetPackage()
		if ident.ID(got.GetPackageId()) != c.want.ID || got.GetTitle() != c.want.Title || got.GetVersion() != "1.0" || got.GetUrl() != c.want.URL ||
			got.GetSize() != c.want.Data.Size || got.GetFileName() != c.want.Data.FileName || got.GetContentType() != c.want.Data.ContentType {
			t.Errorf("%v of %s: %v, want %s", c.kind, c.device, got, c.want.Title)
		}
	}
	for name, got := range map[string]*sluicepb.TransportAnswer{
		"of another tenant":  s.find(t, ident.TenantID{ID: ident.New()}, rich.ID, firmware),
		"no such device":     s.find(t, s.tenant, ident.DeviceID{ID: ident.New()}, firmware),
		"no software either": s.find(t, s.tenant, plain.ID, software),
	} {
		if fault.Kind(got.GetFault().GetKind()) != fault.NotFound || got.GetPackage() != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestM79PackagesAreReadInPieces: the pieces devices ask for, none beyond the end, and none of another tenant's.
func TestM79PackagesAreReadInPieces(t *testing.T) {
	s := newShelf(t)
	data := blobtest.Data(300_000, 1)
	p, linked := s.pack(t, entity.Firmware, "fw", data), s.pack(t, entity.Firmware, "linked", nil)
	for _, c := range []struct {
		offset       int64
		length, want int32
	}{{0, 4096, 4096}, {8192, 4096, 4096}, {299_000, 4096, 1000}, {300_000, 4096, 0}, {900_000, 10, 0}, {0, 262_144, 262_144}, {5, 0, 0}} {
		got := s.read(t, s.tenant, p.ID, c.offset, c.length)
		if got.GetFault() != nil || int32(len(got.GetData())) != c.want || c.want > 0 && !bytes.Equal(got.GetData(), data[c.offset:c.offset+int64(c.want)]) {
			t.Errorf("%d bytes from %d: %d bytes, %v", c.length, c.offset, len(got.GetData()), got.GetFault())
		}
	}
	for name, c := range map[string]struct {
		got  *sluicepb.TransportAnswer
		want fault.Kind
	}{
		"of another tenant":  {s.read(t, ident.TenantID{ID: ident.New()}, p.ID, 0, 10), fault.NotFound},
		"of no tenant":       {ask(t, s.client, &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ReadPackage{ReadPackage: &sluicepb.ReadPackage{PackageId: p.ID[:]}}}), fault.Invalid},
		"no such package":    {s.read(t, s.tenant, ident.New(), 0, 10), fault.NotFound},
		"data elsewhere":     {s.read(t, s.tenant, linked.ID, 0, 10), fault.NotFound},
		"too much":           {s.read(t, s.tenant, p.ID, 0, 262_145), fault.Invalid},
		"before the first":   {s.read(t, s.tenant, p.ID, -1, 10), fault.Invalid},
		"less than nothing":  {s.read(t, s.tenant, p.ID, 0, -1), fault.Invalid},
		"an id that is none": {ask(t, s.client, &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ReadPackage{ReadPackage: &sluicepb.ReadPackage{TenantId: s.tenant.ID[:], PackageId: []byte("x")}}}), fault.Invalid},
	} {
		if fault.Kind(c.got.GetFault().GetKind()) != c.want || len(c.got.GetData()) > 0 {
			t.Errorf("%s: %d bytes, %v", name, len(c.got.GetData()), c.got.GetFault())
		}
	}
}
