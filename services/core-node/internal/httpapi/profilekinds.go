package httpapi

import (
	"context"
	"net/http"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// profileKind is what the routes of device profiles and of asset profiles do alike (rest-api §2.5).
type profileKind[T any] struct {
	api      *api
	registry func() profileRegistry[T]
	// view and info are the two shapes a profile is shown in.
	view, info func(T) (any, error)
	page       func(r *http.Request, tenant ident.TenantID, asked entity.PageRequest) (entity.Page[T], error)
	identify   func(T) ident.EntityID
	// inPath and inQuery name the parameters that identify one profile, and several.
	inPath, inQuery string
}

type profileRegistry[T any] interface {
	Get(ctx context.Context, tenant ident.TenantID, id ident.ID) (T, error)
	Default(ctx context.Context, tenant ident.TenantID) (T, error)
	SetDefault(ctx context.Context, tenant ident.TenantID, id ident.ID) (T, error)
	Delete(ctx context.Context, tenant ident.TenantID, id ident.ID) error
}

// own returns a profile that p may see.
func (k profileKind[T]) own(r *http.Request, p auth.Principal, id ident.ID) (T, error) {
	found, err := k.registry().Get(r.Context(), p.Tenant, id)
	var none T
	return found, k.api.Guard.Foreign(r.Context(), ident.EntityID{Type: k.identify(none).Type, ID: id}, err)
}

// one returns the profile of the path that p may see.
func (k profileKind[T]) one(r *http.Request, p auth.Principal) (found T, err error) {
	id, err := pathID(r, k.inPath)
	if err != nil {
		return found, err
	}
	return k.own(r, p, id)
}

// inShape is found in a shape.
func inShape[T any](found T, err error, shape func(T) (any, error)) (any, error) {
	if err != nil {
		return nil, err
	}
	return shape(found)
}

func (k profileKind[T]) show(r *http.Request, p auth.Principal) (any, error) {
	found, err := k.one(r, p)
	return inShape(found, err, k.view)
}

func (k profileKind[T]) showInfo(r *http.Request, p auth.Principal) (any, error) {
	found, err := k.one(r, p)
	return inShape(found, err, k.info)
}

func (k profileKind[T]) showDefaultInfo(r *http.Request, p auth.Principal) (any, error) {
	found, err := k.registry().Default(r.Context(), p.Tenant)
	return inShape(found, err, k.info)
}

func (k profileKind[T]) remove(r *http.Request, p auth.Principal) (any, error) {
	found, err := k.one(r, p)
	if err != nil {
		return nil, err
	}
	return nil, k.registry().Delete(r.Context(), p.Tenant, k.identify(found).ID)
}

func (k profileKind[T]) setDefault(r *http.Request, p auth.Principal) (any, error) {
	found, err := k.one(r, p)
	if err != nil {
		return nil, err
	}
	changed, err := k.registry().SetDefault(r.Context(), p.Tenant, k.identify(found).ID)
	return inShape(changed, err, k.view)
}

func (k profileKind[T]) list(r *http.Request, p auth.Principal) (any, error) {
	return k.pageOf(r, p, k.view)
}

func (k profileKind[T]) listInfos(r *http.Request, p auth.Principal) (any, error) {
	if r.URL.Query().Has(k.inQuery) {
		return k.infosByID(r, p)
	}
	return k.pageOf(r, p, k.info)
}

func (k profileKind[T]) pageOf(r *http.Request, p auth.Principal, shape func(T) (any, error)) (any, error) {
	asked, err := k.api.pageRequest(r)
	if err != nil {
		return nil, err
	}
	found, err := k.page(r, p.Tenant, asked)
	if err != nil {
		return nil, err
	}
	views := entity.Page[any]{Total: found.Total}
	for _, one := range found.Items {
		view, err := shape(one)
		if err != nil {
			return nil, err
		}
		views.Items = append(views.Items, view)
	}
	return paged(views, asked, same), nil
}

func (k profileKind[T]) infosByID(r *http.Request, p auth.Principal) (any, error) {
	if !p.Is(entity.TenantAdmin) {
		return nil, auth.Denied()
	}
	return listByID(r, k.inQuery, same, func(id ident.ID) (any, error) {
		found, err := k.registry().Get(r.Context(), p.Tenant, id)
		return inShape(found, err, k.info)
	})
}
