package entity

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// defaults is which of a tenant's profiles of a kind is the default one: it holds a claim, so there is never a second.
type defaults[T any, P stored[T]] struct {
	profiles repository[T, P]
	kind     string // as people are told
	claim    func(ident.TenantID) string
	set      func(*T, bool)
}

// find returns the default profile. A move that was cut off may have left the tenant without: then its oldest profile takes the place.
// storage.ErrNotFound: it has none at all.
func (d defaults[T, P]) find(ctx context.Context, tenant ident.TenantID) (T, error) {
	found, err := d.profiles.byClaim(ctx, d.claim(tenant))
	if !errors.Is(err, storage.ErrNotFound) {
		return found, err
	}
	oldest, listErr := d.profiles.list(ctx, tenant, nil, PageRequest{Size: 1}, order{"id": byID})
	if listErr != nil {
		return found, listErr
	}
	if len(oldest.Items) == 0 {
		return found, err
	}
	marked, err := d.mark(ctx, tenant, P(&oldest.Items[0]).row().id, true)
	if errors.Is(err, storage.ErrTaken) {
		return d.profiles.byClaim(ctx, d.claim(tenant)) // somebody else was faster
	}
	return marked, err
}

// move makes a profile the default one in place of the one that find returned. If the process ends in between there is none, until
// find is called again.
func (d defaults[T, P]) move(ctx context.Context, tenant ident.TenantID, from T, to ident.ID) (T, error) {
	id := P(&from).row().id
	if id == to {
		return from, nil
	}
	if _, err := d.mark(ctx, tenant, id, false); err != nil {
		return from, fmt.Errorf("release the default %s: %w", d.kind, err)
	}
	marked, err := d.mark(ctx, tenant, to, true)
	return marked, taken(err, "The default "+d.kind+" was changed by someone else meanwhile!")
}

func (d defaults[T, P]) mark(ctx context.Context, tenant ident.TenantID, id ident.ID, isDefault bool) (T, error) {
	return d.profiles.update(ctx, tenant, id, 0, func(p *T) error {
		d.set(p, isDefault)
		return nil
	})
}
