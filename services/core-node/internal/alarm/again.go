package alarm

import (
	"context"
	"errors"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// createOnce is create, unless the alarm was made before.
func (r *Registry) createOnce(ctx context.Context, q Request) (Alarm, error) {
	if !q.ID.IsZero() {
		if made, err := r.Get(ctx, q.Tenant, q.ID); !errors.Is(err, storage.ErrNotFound) {
			return made, err
		}
	}
	return r.create(ctx, q)
}

// ClearedBy returns the alarm that was cleared under a name (Alarm.ClearedBy); storage.ErrNotFound when there is none.
func (r *Registry) ClearedBy(ctx context.Context, tenant ident.TenantID, by ident.ID) (Alarm, error) {
	d, err := r.options.Store.ByClaim(ctx, clearedClaim(tenant, by))
	if err != nil {
		return Alarm{}, notFound(err)
	}
	return decode(d)
}
