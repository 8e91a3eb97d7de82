package calls

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// created is the type of the relation from a gateway to the devices made for it.
const created = "Created"

// Relations keeps what gateways made.
type Relations interface {
	Save(ctx context.Context, tenant ident.TenantID, rel relation.Relation) (relation.Relation, error)
	Delete(ctx context.Context, tenant ident.TenantID, k relation.Key) (relation.Relation, error)
}

// behind finds or makes the device behind a gateway (device-api §2.2). Fault Limited always means here that the tenant may have no
// more devices.
func (c Calls) behind(ctx context.Context, q *sluicepb.GatewayDevice) (*sluicepb.DeviceInfo, error) {
	tenant, err := ident.FromBytes(q.GetTenantId())
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "tenant_id", err)
	}
	gateway, err := ident.FromBytes(q.GetGatewayId())
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "gateway_id", err)
	}
	by := entity.Behind{Tenant: ident.TenantID{ID: tenant}, Gateway: ident.DeviceID{ID: gateway}, Name: q.GetDeviceName(), Type: q.GetDeviceType()}
	key := func(device ident.DeviceID) relation.Key {
		return relation.Key{From: by.Gateway.Entity(), To: device.Entity(), Type: created}
	}
	by.Relate = func(ctx context.Context, device ident.DeviceID) error {
		if _, err := c.Relations.Save(ctx, by.Tenant, relation.Relation{Key: key(device)}); err != nil {
			return fmt.Errorf("relate a device to its gateway: %w", err)
		}
		return nil
	}
	by.Unrelate = func(ctx context.Context, device ident.DeviceID) error {
		if _, err := c.Relations.Delete(ctx, by.Tenant, key(device)); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("take back a relation: %w", err)
		}
		return nil
	}
	device, credentials, err := c.Entities.Devices.FindBehind(ctx, by)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, unknown() // the gateway is gone
	}
	if err != nil {
		return nil, kinded(err, "find a device behind a gateway")
	}
	return c.describe(ctx, device, credentials.Version)
}
