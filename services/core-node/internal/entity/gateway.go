package entity

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// lastGateway is the key of additionalInfo that names the gateway a device was heard behind last.
const lastGateway = "lastConnectedGateway"

// Behind is who stands for a device behind a gateway.
type Behind struct {
	Tenant  ident.TenantID
	Gateway ident.DeviceID
	Name    string
	Type    string // of a new device; "" is "default"
	// Relate stores, before a new device is there, that the gateway created it; Unrelate takes that back when somebody else was faster.
	Relate, Unrelate func(ctx context.Context, device ident.DeviceID) error
}

// FindBehind returns the device of that name with its credentials, making it when there is none: for the gateway's customer, of the
// profile of that name. A device found is taken as it is, but for the gateway it was heard behind last (device-api §2.2). Of several
// who ask at once for one name all get one device. A tenant that may have no more gets a LimitError; a gateway that is gone is storage.ErrNotFound.
func (r *DeviceRegistry) FindBehind(ctx context.Context, b Behind) (Device, Credentials, error) {
	gateway, err := r.Device(ctx, b.Tenant, b.Gateway)
	if err != nil {
		return Device{}, Credentials{}, err
	}
	for range attempts {
		s, err := r.devices.byClaim(ctx, deviceClaim(b.Tenant, b.Name))
		if err == nil {
			d, err := r.heardBehind(ctx, s.Device, b.Gateway)
			return d, s.Credentials, err
		}
		if !errors.Is(err, storage.ErrNotFound) {
			return Device{}, Credentials{}, err
		}
		d, err := r.createBehind(ctx, b, gateway)
		if errors.Is(err, storage.ErrTaken) {
			continue // somebody else was faster
		}
		if err != nil {
			return Device{}, Credentials{}, err
		}
		c, err := r.Credentials(ctx, b.Tenant, d.ID)
		return d, c, err
	}
	return Device{}, Credentials{}, conflict(storage.ErrTaken)
}

func (r *DeviceRegistry) createBehind(ctx context.Context, b Behind, gateway Device) (Device, error) {
	if b.Type == "" {
		b.Type = defaultProfileName
	}
	info, err := withGateway(nil, b.Gateway)
	if err != nil {
		return Device{}, err
	}
	d := Device{
		ID: ident.DeviceID{ID: ident.New()}, Tenant: b.Tenant, Customer: gateway.Customer, Name: b.Name, Type: b.Type, AdditionalInfo: info,
	}
	related := false
	created, err := r.store(ctx, d, nil, func() error { // first, so that no kill leaves a device without it
		related = true
		return b.Relate(ctx, d.ID)
	})
	if err != nil && related {
		return Device{}, errors.Join(err, b.Unrelate(ctx, d.ID))
	}
	if err != nil {
		return Device{}, err
	}
	return created, r.all.tell(ctx, EntityCreated, created, "gatewayId", b.Gateway.String())
}

// heardBehind notes the gateway a device was heard behind last.
func (r *DeviceRegistry) heardBehind(ctx context.Context, d Device, gateway ident.DeviceID) (Device, error) {
	if isBehind(d, gateway) {
		return d, nil
	}
	return r.change(ctx, d.Tenant, d.ID, 0, func(d *Device) (err error) {
		if isBehind(*d, gateway) {
			return errUnchanged
		}
		d.AdditionalInfo, err = withGateway(d.AdditionalInfo, gateway)
		return err
	})
}

func isBehind(d Device, gateway ident.DeviceID) bool {
	var info struct {
		Last string `json:"lastConnectedGateway"`
	}
	return json.Unmarshal(d.AdditionalInfo, &info) == nil && info.Last == gateway.String()
}

// withGateway returns info, an object or none, naming gateway.
func withGateway(info json.RawMessage, gateway ident.DeviceID) (json.RawMessage, error) {
	members := map[string]json.RawMessage{}
	if len(info) > 0 && string(info) != "null" {
		if err := json.Unmarshal(info, &members); err != nil {
			return nil, fault.Wrap(fault.Invalid, "additionalInfo: is not an object", err)
		}
	}
	text, err := json.Marshal(gateway.String())
	if err != nil {
		return nil, err
	}
	members[lastGateway] = text
	return json.Marshal(members)
}
