package subject

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// NamedOrCreated is Named, but makes the device, asset or customer if there is none; kindName is the type of a device or asset, "" the default.
func NamedOrCreated(ctx context.Context, s rule.Services, kind ident.EntityType, name, kindName string) (ident.EntityID, error) {
	e, err := Named(ctx, s, kind, name)
	if !errors.Is(err, storage.ErrNotFound) {
		return e, err
	}
	ctx = entity.WithActor(ctx, entity.Actor{RuleNode: s.Node})
	switch kind {
	case ident.Device:
		_, err = s.Entities.Devices.Create(ctx, entity.Device{Tenant: s.Tenant, Name: name, Type: kindName}, nil)
	case ident.Asset:
		_, err = s.Entities.Assets.Create(ctx, entity.Asset{Tenant: s.Tenant, Name: name, Type: kindName})
	case ident.Customer:
		_, err = s.Entities.Customers.Create(ctx, entity.Customer{Tenant: s.Tenant, Title: name})
	default:
		return e, err
	}
	if err != nil && !errors.Is(err, storage.ErrTaken) { // taken: somebody else was faster
		return e, fmt.Errorf("create %s %q: %w", kind, name, err)
	}
	return Named(ctx, s, kind, name)
}
