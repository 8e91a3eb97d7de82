package rulenodetest

import (
	"context"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity/install"
	"github.com/sluice-iot/sluice/services/core-node/internal/password"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Platform puts a store in memory behind the bench, with entities: the system, a tenant that becomes Services.Tenant,
// and a device of it, "Device", that becomes Device. Call it before Node. The test's end closes the store.
func (b *Bench) Platform() *entity.Registry {
	b.t.Helper()
	store, err := pebble.Open(pebble.Options{Dir: "store", FS: vfs.NewMem(), Now: b.Services.Now, DiskReserve: -1})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := store.Close(); err != nil {
			b.t.Error(err)
		}
	})
	entities := entity.New(store, entity.Options{Events: quiet{}, Now: b.Services.Now})
	b.Store, b.Services.Values, b.Services.Entities = store, store, entities
	b.Services.Eraser = store
	b.Services.Relations = relation.New(store, relation.DefaultSettings())
	b.Services.Alarms = alarm.New(alarm.Options{Store: store, Relations: b.Services.Relations, Now: b.Services.Now})
	if _, err := install.System(b.t.Context(), entities, password.NewHasher(1, 1)); err != nil {
		b.t.Fatal(err)
	}
	tenant, err := entities.Tenants.Create(b.t.Context(), entity.Tenant{Title: "Tenant"})
	if err != nil {
		b.t.Fatal(err)
	}
	b.Services.Tenant = tenant.ID
	device, err := entities.Devices.Create(b.t.Context(), entity.Device{Tenant: tenant.ID, Name: "Device"}, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.Device = device.ID
	return entities
}

// quiet announces to nobody: there is one node.
type quiet struct{}

func (quiet) Announce(context.Context, *sluicepb.EntityEvent) error { return nil }

// Put stores values, a JSON object, of an entity as of a time in ms.
func (b *Bench) Put(e ident.EntityID, scope storage.Scope, ms int64, values string) {
	b.t.Helper()
	kvs, err := telemetry.ParseObject(values)
	if err != nil {
		b.t.Fatal(err)
	}
	write := storage.Write{Entity: e, Scope: scope, Time: ms, Stamp: ms * 1000, Values: kvs}
	if err := b.Store.Write(b.t.Context(), []storage.Write{write}); err != nil {
		b.t.Fatal(err)
	}
}

// Relate saves a relation of type Contains.
func (b *Bench) Relate(from, to ident.EntityID) {
	b.t.Helper()
	key := relation.Key{From: from, To: to, Type: relation.Contains}
	if _, err := b.Services.Relations.Save(b.t.Context(), b.Services.Tenant, relation.Relation{Key: key}); err != nil {
		b.t.Fatal(err)
	}
}

// Customer makes a customer of the tenant and gives it the device.
func (b *Bench) Customer(title string) ident.CustomerID {
	b.t.Helper()
	c, err := b.Services.Entities.Customers.Create(b.t.Context(), entity.Customer{Tenant: b.Services.Tenant, Title: title})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.Services.Entities.Devices.Assign(b.t.Context(), b.Services.Tenant, b.Device, c.ID); err != nil {
		b.t.Fatal(err)
	}
	return c.ID
}

// NewDevice makes another device of the tenant.
func (b *Bench) NewDevice(name, deviceType string) ident.EntityID {
	b.t.Helper()
	d, err := b.Services.Entities.Devices.Create(b.t.Context(), entity.Device{Tenant: b.Services.Tenant, Name: name, Type: deviceType}, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return d.ID.Entity()
}
