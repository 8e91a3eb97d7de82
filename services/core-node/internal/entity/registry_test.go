package entity_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity/install"
	"github.com/sluice-iot/sluice/services/core-node/internal/password"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
)

// recorder keeps what was announced and told.
type recorder struct {
	mu      sync.Mutex
	events  []*sluicepb.EntityEvent
	changes []entity.Change
	fail    error
}

func (r *recorder) Announce(_ context.Context, e *sluicepb.EntityEvent) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, proto.Clone(e).(*sluicepb.EntityEvent))
	return r.fail
}

func (r *recorder) Happened(_ context.Context, c entity.Change) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, c)
	return nil
}

// told returns the names of the devices of which kind was told.
func (r *recorder) told(kind string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, c := range r.changes {
		if c.Kind == kind && c.Originator.Type == ident.Device {
			names = append(names, c.Metadata["entityName"])
		}
	}
	return names
}

// take returns what was announced since the last take.
func (r *recorder) take() []*sluicepb.EntityEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

func openStore(t *testing.T) storage.Store {
	t.Helper()
	s, err := pebble.Open(pebble.Options{Dir: "store", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func now() time.Time { return time.UnixMilli(1_800_000_000_000) }

// platform is a registry with the system installed and one tenant in it.
type platform struct {
	*entity.Registry
	*recorder
	store  storage.Store
	tenant ident.TenantID
}

func start(t *testing.T) platform {
	t.Helper()
	p := platform{recorder: &recorder{}, store: openStore(t)}
	p.Registry = entity.New(p.store, entity.Options{Events: p.recorder, Lifecycle: p.recorder, Values: p.store, Now: now})
	if _, err := install.System(t.Context(), p.Registry, password.NewHasher(1, 1)); err != nil {
		t.Fatal(err)
	}
	p.tenant = p.newTenant(t, "Mine")
	p.take()
	return p
}

func (p platform) newTenant(t *testing.T, title string) ident.TenantID {
	t.Helper()
	created, err := p.Tenants.Create(t.Context(), entity.Tenant{Title: title})
	if err != nil {
		t.Fatal(err)
	}
	return created.ID
}

func (p platform) newDevice(t *testing.T, d entity.Device) entity.Device {
	t.Helper()
	if d.Tenant.IsZero() {
		d.Tenant = p.tenant
	}
	created, err := p.Devices.Create(t.Context(), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func (p platform) newCustomer(t *testing.T, title string) ident.CustomerID {
	t.Helper()
	created, err := p.Customers.Create(t.Context(), entity.Customer{Tenant: p.tenant, Title: title})
	if err != nil {
		t.Fatal(err)
	}
	return created.ID
}

// refused checks what an error means to whoever asked.
func refused(t *testing.T, err error, kind fault.Kind, cause error) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || cause != nil && !errors.Is(err, cause) {
		t.Errorf("error is %v (%v), want %v for %v", err, fault.KindOf(err), kind, cause)
	}
}

func message(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Message
	}
	return ""
}

func TestChangesAreAnnounced(t *testing.T) {
	p := start(t)
	d := p.newDevice(t, entity.Device{Name: "d"})
	d.Label = "x"
	if _, err := p.Devices.Update(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if err := p.Devices.Delete(t.Context(), p.tenant, d.ID); err != nil {
		t.Fatal(err)
	}
	events := p.take()
	if len(events) != 3 {
		t.Fatalf("%d events, want 3", len(events))
	}
	for i, e := range events {
		if ident.ID(e.GetEntity().GetId()) != d.ID.ID || ident.ID(e.GetTenantId()) != p.tenant.ID || e.GetEntity().GetType() != ident.Device {
			t.Errorf("event %d is about %v", i, e)
		}
		if last := i == 2; e.GetDeleted() != last || e.GetCredentialsChanged() != last || !last && e.GetVersion() != int64(i)+1 {
			t.Errorf("event %d is %v", i, e)
		}
	}
	if len(p.told(entity.EntityCreated)) != 1 || len(p.told(entity.EntityDeleted)) != 1 {
		t.Errorf("told of %v created, %v deleted", p.told(entity.EntityCreated), p.told(entity.EntityDeleted))
	}
}

func TestUnannouncedChangeIsUnavailable(t *testing.T) {
	p := start(t)
	p.fail = errors.New("away")
	_, err := p.Devices.Create(t.Context(), entity.Device{Tenant: p.tenant, Name: "d"}, nil)
	refused(t, err, fault.Unavailable, p.fail)
	p.fail = nil
	if _, err := p.Devices.ByName(t.Context(), p.tenant, "d"); err != nil {
		t.Errorf("the device is not stored: %v", err)
	}
}

func TestStoreAwayIsUnavailable(t *testing.T) {
	p := start(t)
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}
	_, get := p.Devices.Device(t.Context(), p.tenant, ident.DeviceID{ID: ident.New()})
	_, create := p.Devices.Create(t.Context(), entity.Device{Tenant: p.tenant, Name: "d"}, nil)
	_, list := p.Devices.List(t.Context(), p.tenant, entity.DeviceFilter{}, entity.PageRequest{Size: 1})
	for _, err := range []error{get, create, list} {
		refused(t, err, fault.Unavailable, storage.ErrUnavailable)
	}
}

func TestTenantOf(t *testing.T) {
	p := start(t)
	c := p.newCustomer(t, "c")
	if owner, err := p.TenantOf(t.Context(), c.Entity()); err != nil || owner != p.tenant {
		t.Errorf("the customer's tenant is %v, %v", owner, err)
	}
	_, err := p.TenantOf(t.Context(), ident.CustomerID{ID: ident.New()}.Entity())
	refused(t, err, fault.NotFound, storage.ErrNotFound)
}
