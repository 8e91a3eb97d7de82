package calls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// maxDeviceInfo bounds what goes to a transport of one device, bytes. Profiles are checked when they are saved: only one saved
// by other means exceeds it.
const maxDeviceInfo = 64 << 10

// known describes the device that found belongs to.
func (c Calls) known(ctx context.Context, found entity.Credentials) (*sluicepb.DeviceInfo, error) {
	d, err := c.Entities.Devices.Device(ctx, found.Tenant, found.Device)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, unknown()
	}
	if err != nil {
		return nil, away("read a device", err)
	}
	return c.describe(ctx, d, found.Version)
}

// describe returns all a transport is to know of d.
func (c Calls) describe(ctx context.Context, d entity.Device, credentialsVersion int64) (*sluicepb.DeviceInfo, error) {
	profile, err := c.Entities.DeviceProfiles.Get(ctx, d.Tenant, d.Profile)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, away("read a device profile", err)
	}
	options, err := profile.Options(d)
	if err != nil {
		return nil, fmt.Errorf("read the options of device profile %v: %w", profile.ID, err)
	}
	rates, err := c.Entities.Tenants.Rates(ctx, d.Tenant)
	if err != nil {
		return nil, away("read the tenant's limits", err)
	}
	var info struct {
		Gateway   bool `json:"gateway"`
		Overwrite bool `json:"overwriteActivityTime"`
	}
	// What people wrote there may be anything; only a clear true counts.
	_ = json.Unmarshal(d.AdditionalInfo, &info)
	described := &sluicepb.DeviceInfo{
		TenantId: d.Tenant.ID[:], DeviceId: d.ID.ID[:], CustomerId: d.Customer.ID[:], DeviceProfileId: d.Profile[:],
		DeviceName: d.Name, DeviceType: d.Type, Gateway: info.Gateway, OverwriteActivity: info.Overwrite, TransportType: "DEFAULT",
		Version: d.Version, CredentialsVersion: credentialsVersion, QueueName: c.queue(profile.DefaultQueue), Options: options, Rates: rates,
	}
	if profile.TransportType != "" {
		described.TransportType = profile.TransportType
	}
	if proto.Size(described) > maxDeviceInfo {
		return nil, fault.New(fault.Denied, "the device profile says more of the transport than 64 KiB: save it again")
	}
	return described, nil
}

// queue is the name of one of the queues there are; a profile may name one that is gone, whose messages go to the main one.
func (c Calls) queue(name string) string {
	for i := range c.Queues {
		if c.Queues[i].Name == name {
			return name
		}
	}
	return ""
}
