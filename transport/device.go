package transport

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport/limit"
)

// deviceState is what all Devices of one id share in this process, however often the device
// authenticated and over whatever protocols.
type deviceState struct {
	clock  deviceClock
	limits *limit.Meter
	tenant *tenantState
	// identity is the head of an encoded DeviceUplink: who the device is, as last read.
	identity atomic.Pointer[[]byte]
	// changed is the number of the last event that concerned the device (Transport.events).
	changed atomic.Uint64
	// lastUplink and lastActive are ms since the epoch.
	lastUplink atomic.Int64
	lastActive atomic.Int64
	// reporting is set while the device waits in the activity reporter's list.
	reporting atomic.Bool
}

// tenantState is what all devices of a tenant share.
type tenantState struct{ limits *limit.Meter }

// shared hands out one *V per key for as long as anyone holds it. It holds none itself, so what
// it keeps is bounded by what caches and sessions keep.
type shared[K comparable, V any] struct {
	mu      sync.Mutex
	entries map[K]weak.Pointer[V]
}

// find returns key's V, nil when nobody holds one.
func (s *shared[K, V]) find(key K) *V {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[key].Value()
}

// get returns key's V, made by create when nobody holds one.
func (s *shared[K, V]) get(key K, create func() *V) (v *V, created bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.entries[key].Value(); v != nil {
		return v, false
	}
	v = create()
	if s.entries == nil {
		s.entries = map[K]weak.Pointer[V]{}
	}
	s.entries[key] = weak.Make(v)
	runtime.AddCleanup(v, s.forget, key)
	return v, true
}

// forget drops an entry whose V is gone, unless it was made anew since.
func (s *shared[K, V]) forget(key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[key].Value() == nil {
		delete(s.entries, key)
	}
}

// device makes a Device of what the core told of the holder of c. isNew says that this process knew nothing of the device.
func (t *Transport) device(info *sluicepb.DeviceInfo, c Credentials) (d *Device, isNew bool, err error) {
	d = &Device{
		Name: info.GetDeviceName(), Type: info.GetDeviceType(),
		Gateway: info.GetGateway(), TransportType: info.GetTransportType(), credentials: c,
	}
	for _, field := range []struct {
		id   *ident.ID
		from []byte
	}{
		{&d.Tenant.ID, info.GetTenantId()},
		{&d.ID.ID, info.GetDeviceId()},
		{&d.Customer.ID, info.GetCustomerId()},
		{&d.Profile, info.GetDeviceProfileId()},
	} {
		if *field.id, err = ident.FromBytes(field.from); err != nil {
			return nil, false, err
		}
	}
	d.state, isNew = t.devices.get(d.ID, func() *deviceState { return t.newState(d.ID, d.Tenant) })
	head := telemetry.AppendUplink(nil, &telemetry.Uplink{
		Tenant: d.Tenant, Device: d.ID, Customer: d.Customer, Profile: d.Profile, DeviceName: d.Name, DeviceType: d.Type,
	})
	d.state.identity.Store(&head)
	return d, isNew, nil
}

func (t *Transport) newState(device ident.DeviceID, tenant ident.TenantID) *deviceState {
	now := time.Now()
	s := &deviceState{limits: limit.NewMeter(t.deviceRates, now)}
	s.limits.Share(t.ledger, 'd', device.ID)
	s.tenant, _ = t.tenants.get(tenant, func() *tenantState {
		state := &tenantState{limits: limit.NewMeter(t.tenantRates, now)}
		state.limits.Share(t.ledger, 't', tenant.ID)
		return state
	})
	return s
}

// allowMessage meters a message of d that carries no values.
func (d *Device) allowMessage(now time.Time) bool {
	return d.state.limits.Message(now) && d.state.tenant.limits.Message(now)
}

// allowValues meters an uplink. The device's own limit comes first, so that one that sends too
// much does not use up its tenant's.
func (d *Device) allowValues(now time.Time, points int) bool {
	if !d.state.limits.Telemetry(now, points) {
		return false
	}
	if !d.state.tenant.limits.Telemetry(now, points) {
		d.state.limits.Return(points)
		return false
	}
	return true
}

// returnValues undoes allowValues for an uplink that will be tried again.
func (d *Device) returnValues(points int) {
	d.state.limits.Return(points)
	d.state.tenant.limits.Return(points)
}
