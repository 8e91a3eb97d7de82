package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

const (
	packageUpload   = "/api/otaPackage/{otaPackageId}"
	packageDownload = "/api/otaPackage/{otaPackageId}/download"
)

// packageRoutes are those of rest-api §2.15 about OTA packages.
func (a *api) packageRoutes() []route {
	return []route{
		{"POST", "/api/otaPackage", tenants(), a.savePackage},
		{"POST", packageUpload, tenants(), a.uploadPackage},
		{"GET", "/api/otaPackage/info/{otaPackageId}", tenantUsers(), a.packageInfo},
		{"GET", "/api/otaPackage/{otaPackageId}", tenants(), a.packageInfo},
		{"GET", packageDownload, tenants(), a.downloadPackage},
		{"DELETE", "/api/otaPackage/{otaPackageId}", tenants(), a.deletePackage},
		{"GET", "/api/otaPackages", tenantUsers(), a.listPackages},
		{"GET", "/api/otaPackages/{deviceProfileId}/{otaPackageType}", tenantUsers(), a.listProfilePackages},
		{"GET", "/api/devices/count/{otaPackageType}/{deviceProfileId}", tenantUsers(), a.countFollowing},
	}
}

// carriesPackage reports whether the data of a package goes through a route.
func carriesPackage(one route) bool {
	return one.method == http.MethodPost && one.path == packageUpload || one.path == packageDownload
}

// packageBody is OtaPackageInfo (rest-api §3.5). The data itself is only ever downloaded.
type packageBody struct {
	ID                ref                `json:"id"`
	CreatedTime       int64              `json:"createdTime"`
	AdditionalInfo    json.RawMessage    `json:"additionalInfo"`
	TenantID          ref                `json:"tenantId"`
	DeviceProfileID   *ref               `json:"deviceProfileId"`
	Type              entity.PackageType `json:"type"`
	Title             string             `json:"title"`
	Version           string             `json:"version"`
	Tag               *string            `json:"tag"`
	URL               *string            `json:"url"`
	HasData           bool               `json:"hasData"`
	FileName          *string            `json:"fileName"`
	ContentType       *string            `json:"contentType"`
	ChecksumAlgorithm *string            `json:"checksumAlgorithm"`
	Checksum          *string            `json:"checksum"`
	DataSize          *int64             `json:"dataSize"`
	ExternalID        *ref               `json:"externalId"`
	Name              string             `json:"name"`
}

func packageView(p entity.Package) packageBody {
	b := packageBody{
		ID: refOf(ident.OTAPackage, p.ID), CreatedTime: p.CreatedTime, AdditionalInfo: objectView(p.AdditionalInfo),
		TenantID: refOf(ident.Tenant, p.Tenant.ID), DeviceProfileID: optional(ident.DeviceProfile, p.Profile),
		Type: p.Type, Title: p.Title, Version: p.Version, Tag: orNull(p.Tag), URL: orNull(p.URL), HasData: p.HasData(),
		FileName: orNull(p.Data.FileName), ContentType: orNull(p.Data.ContentType), ChecksumAlgorithm: orNull(p.Data.ChecksumAlgorithm),
		Checksum: orNull(p.Data.Checksum), ExternalID: optional(ident.OTAPackage, p.External), Name: p.Title,
	}
	if p.Data.Here() {
		b.DataSize = &p.Data.Size
	}
	return b
}

func (a *api) savePackage(r *http.Request, p auth.Principal) (any, error) {
	var in struct {
		ID, DeviceProfileID, ExternalID *given
		Type                            entity.PackageType
		Title, Version                  string
		Tag, URL                        *string
		UsesURL                         *bool
		AdditionalInfo                  json.RawMessage
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	saved := entity.Package{Tenant: p.Tenant, Type: in.Type, Title: in.Title, Version: in.Version, Tag: orEmpty(in.Tag)}
	var err error
	if saved.ID, err = in.ID.id("id", ident.OTAPackage); err != nil {
		return nil, err
	}
	if saved.Profile, err = in.DeviceProfileID.id("deviceProfileId", ident.DeviceProfile); err != nil {
		return nil, err
	}
	if saved.External, err = in.ExternalID.id("externalId", ident.OTAPackage); err != nil {
		return nil, err
	}
	if saved.AdditionalInfo, err = object("additionalInfo", in.AdditionalInfo); err != nil {
		return nil, err
	}
	if saved.URL, err = packageURL(in.URL, in.UsesURL); err != nil {
		return nil, err
	}
	if err := checkTexts("title", saved.Title, "version", saved.Version, "tag", saved.Tag); err != nil {
		return nil, err
	}
	save := a.Entities.Packages.Create
	if !saved.ID.IsZero() {
		save = a.Entities.Packages.Update
		if _, err := a.ownPackage(r, p, saved.ID); err != nil {
			return nil, err
		}
	}
	if saved, err = save(r.Context(), saved); err != nil {
		return nil, err
	}
	return packageView(saved), nil
}

// packageURL is the URL given, unless uses says that there is none; saying that there is one needs one.
func packageURL(given *string, uses *bool) (string, error) {
	if uses != nil && !*uses {
		return "", nil
	}
	url := strings.TrimSpace(orEmpty(given))
	if uses != nil && url == "" {
		return "", fault.New(fault.Invalid, "OTA package URL should be specified!")
	}
	return url, nil
}

func (a *api) ownPackage(r *http.Request, p auth.Principal, id ident.ID) (entity.Package, error) {
	found, err := a.Entities.Packages.Get(r.Context(), p.Tenant, id)
	return found, a.Guard.Foreign(r.Context(), ident.EntityID{Type: ident.OTAPackage, ID: id}, err)
}

// onePackage returns the package of the path that p may see.
func (a *api) onePackage(r *http.Request, p auth.Principal) (entity.Package, error) {
	id, err := pathID(r, "otaPackageId")
	if err != nil {
		return entity.Package{}, err
	}
	return a.ownPackage(r, p, id)
}

func (a *api) packageInfo(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.onePackage(r, p)
	if err != nil {
		return nil, err
	}
	return packageView(found), nil
}

func (a *api) deletePackage(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.onePackage(r, p)
	if err != nil {
		return nil, err
	}
	return nil, a.Entities.Packages.Delete(r.Context(), p.Tenant, found.ID)
}

func (a *api) listPackages(r *http.Request, p auth.Principal) (any, error) {
	return a.packagePage(r, p, entity.PackageFilter{})
}

// listProfilePackages lists what devices of a profile can be given.
func (a *api) listProfilePackages(r *http.Request, p auth.Principal) (any, error) {
	kind, err := packageType(r)
	if err != nil {
		return nil, err
	}
	profile, err := a.deviceProfiles().one(r, p)
	if err != nil {
		return nil, err
	}
	return a.packagePage(r, p, entity.PackageFilter{Profile: profile.ID, Type: kind, HasData: true})
}

// countFollowing tells how many devices the package of a profile is for.
func (a *api) countFollowing(r *http.Request, p auth.Principal) (any, error) {
	kind, err := packageType(r)
	if err != nil {
		return nil, err
	}
	profile, err := a.deviceProfiles().one(r, p)
	if err != nil {
		return nil, err
	}
	return a.Entities.Devices.CountFollowing(r.Context(), p.Tenant, profile.ID, kind)
}

// packageType reads the type of packages of the path.
func packageType(r *http.Request) (entity.PackageType, error) {
	kind := entity.PackageType(chi.URLParam(r, "otaPackageType"))
	if kind != entity.Firmware && kind != entity.Software {
		return "", invalid("type", fmt.Sprintf("%q is neither FIRMWARE nor SOFTWARE", kind))
	}
	return kind, nil
}

func (a *api) packagePage(r *http.Request, p auth.Principal, f entity.PackageFilter) (any, error) {
	asked, err := a.pageRequest(r)
	if err != nil {
		return nil, err
	}
	found, err := a.Entities.Packages.List(r.Context(), p.Tenant, f, asked)
	if err != nil {
		return nil, err
	}
	return paged(found, asked, packageView), nil
}
