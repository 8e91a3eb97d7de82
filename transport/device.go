package transport

import (
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

// deviceState is what all Devices of one id share in this process, however often the device
// authenticated and over whatever protocols.
type deviceState struct {
	clock  deviceClock
	tenant *tenantState
	// rate is what its own messages are held to; behind, of a gateway, what it sends for the devices behind it.
	rate, behind rate
	// identity is the head of an encoded DeviceUplink: who the device is, as last read.
	identity atomic.Pointer[[]byte]
	profile  atomic.Pointer[profileState]
	// options are what the device's profile says about transports, as last read; never nil.
	options atomic.Pointer[sluicepb.ProfileOptions]
	// calls is how many of the device's own requests wait for their answers.
	calls atomic.Int32
	// coreFull is set while it was the queue to the owner that last had no room for the device.
	coreFull atomic.Bool
	// changed is the number of the last event that concerned the device (Transport.events).
	changed atomic.Uint64
	// lastUplink and lastActive are ms since the epoch.
	lastUplink atomic.Int64
	lastActive atomic.Int64
	// reporting is set while the device waits in the activity reporter's list.
	reporting atomic.Bool
}

// tenantState is what all devices of a tenant share.
type tenantState struct {
	rate rate
	// changed is the number of the last event that concerned the tenant.
	changed atomic.Uint64
}

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
		Gateway: info.GetGateway(), OverwriteActivity: info.GetOverwriteActivity(), TransportType: info.GetTransportType(), credentials: c,
		queue: info.GetQueueName(), topic: topics.Queue(info.GetQueueName()),
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
	d.state, isNew = t.devices.get(d.ID, func() *deviceState { return t.newState(d.Tenant) })
	head := telemetry.AppendUplink(nil, &telemetry.Uplink{
		Tenant: d.Tenant, Device: d.ID, Customer: d.Customer, Profile: d.Profile, DeviceName: d.Name, DeviceType: d.Type,
	})
	d.state.identity.Store(&head)
	profile, _ := t.profiles.get(d.Profile, func() *profileState { return &profileState{} })
	d.state.profile.Store(profile)
	d.state.options.Store(profile.intern(info.GetOptions()))
	if c.isChild() {
		d.gateway = t.devices.find(c.behind.gateway)
	}
	t.setRates(d, info.GetRates())
	return d, isNew, nil
}

func (t *Transport) newState(tenant ident.TenantID) *deviceState {
	s := &deviceState{}
	s.tenant, _ = t.tenants.get(tenant, func() *tenantState { return &tenantState{} })
	return s
}
