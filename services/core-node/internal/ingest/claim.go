package ingest

import (
	"context"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/claim"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Claims keeps which devices people may claim.
type Claims interface {
	// Allowed says whether a device may be claimed whose attribute claimingAllowed is as given.
	Allowed(attribute []storage.Entry) bool
	// Offer keeps an offer, if none stands; what cannot be kept is fault.Invalid.
	Offer(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, secret string, at time.Time, lasts time.Duration) error
}

// claim keeps a device's offer to be claimed. That it may not be claimed, or has a customer, the device is not told
// (device-api §1.10).
func (p *partition) claim(ctx context.Context, m coreMessage, q *sluicepb.ClaimDevice) error {
	if m.entity.Type != ident.Device {
		return fault.New(fault.Invalid, "only devices are claimed")
	}
	device := ident.DeviceID{ID: m.entity.ID}
	var d entity.Device
	err := p.steady(ctx, "read a device", func() (err error) {
		d, err = p.d.Devices.Device(ctx, m.tenant, device)
		return err
	})
	if isGone(err) {
		return nil
	}
	if err != nil || !d.Customer.IsZero() {
		return err
	}
	if p.saver.Touches(m.entity) {
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
	var attribute []storage.Entry
	err = p.steady(ctx, "read attributes", func() (err error) {
		attribute, err = p.d.Store.Attributes(ctx, m.entity, storage.Server, []string{claim.Attribute})
		return err
	})
	if err != nil || !p.d.Claims.Allowed(attribute) {
		return err
	}
	lasts := time.Duration(min(q.GetDurationMs(), longestClaim)) * time.Millisecond
	return p.steady(ctx, "keep an offer to be claimed", func() error {
		return p.d.Claims.Offer(ctx, m.tenant, device, q.GetSecret(), time.UnixMilli(q.GetReceivedAtMs()), lasts)
	})
}

// longestClaim keeps what devices send from overflowing; the setting is shorter. A hundred years, ms.
const longestClaim = 100 * 365 * 24 * 3600 * 1000
