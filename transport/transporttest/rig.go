// Package transporttest is the suite that every device protocol passes (Run), and what it takes
// to test a protocol's service without a broker and a core node: a Bus that stalls and fails when
// told, a Core that answers from memory, and a Rig of both with a Transport on them.
package transporttest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
)

// patience is how long a test waits for what must happen: long enough for a busy machine.
const patience = 20 * time.Second

// Rig is a running Transport with its Bus and Core. It ends with the test.
type Rig struct {
	Bus       *Bus
	Core      *Core
	Transport *transport.Transport
}

// Config returns the default settings.
func Config(testing.TB) transport.Config {
	return transport.DefaultConfig()
}

// Start starts a Rig with the default settings, changed by change (which may be nil).
func Start(t testing.TB, change func(*transport.Config)) *Rig {
	t.Helper()
	c := Config(t)
	if change != nil {
		change(&c)
	}
	r := &Rig{Core: NewCore()}
	r.Bus = NewBus(r.Core)
	t.Cleanup(r.Bus.Close)
	r.Transport = run(t, c, r.Bus, transport.Options{})
	return r
}

// Join starts another Transport of the same fleet: on b, which need not be r's own Bus but leads to it.
// It ends with the test.
func (r *Rig) Join(t testing.TB, b bus.Bus, o transport.Options, change func(*transport.Config)) *Rig {
	t.Helper()
	c := Config(t)
	if change != nil {
		change(&c)
	}
	return &Rig{Core: r.Core, Bus: r.Bus, Transport: run(t, c, b, o)}
}

// run runs a Transport until the test's end.
func run(t testing.TB, c transport.Config, b bus.Bus, o transport.Options) *transport.Transport {
	t.Helper()
	tr, err := transport.New(c, b, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := tr.Run(ctx); err != nil {
			t.Errorf("transport: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return tr
}

// Uplinks waits until the bus took n uplinks on and returns them.
func (r *Rig) Uplinks(t testing.TB, n int) []telemetry.Uplink {
	t.Helper()
	var uplinks []telemetry.Uplink
	var err error
	r.await(t, func() bool {
		uplinks, err = r.Bus.Uplinks()
		return err != nil || len(uplinks) >= n
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(uplinks) != n {
		t.Fatalf("%d uplinks on the bus, want %d", len(uplinks), n)
	}
	return uplinks
}

// Reports waits until the core was told at least n things and returns them.
func (r *Rig) Reports(t testing.TB, n int) []*sluicepb.CoreMessage {
	t.Helper()
	var reports []*sluicepb.CoreMessage
	var err error
	r.await(t, func() bool {
		reports, err = r.Bus.Reports()
		return err != nil || len(reports) >= n
	})
	if err != nil {
		t.Fatal(err)
	}
	return reports
}

// AwaitHeld waits until n uplinks wait for Bus.Release.
func (r *Rig) AwaitHeld(t testing.TB, n int) {
	t.Helper()
	r.await(t, func() bool { return r.Bus.Held() >= n })
}

func (r *Rig) await(t testing.TB, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Bus.Await(ctx, condition); err != nil {
		t.Fatalf("waiting for the bus: %v", err)
	}
}

// ChangedGroup announces that a profile or tenant changed.
func (r *Rig) ChangedGroup(t testing.TB, kind sluicepb.EntityType, id ident.ID) {
	t.Helper()
	r.await(t, r.Bus.followed)
	if err := r.Bus.Announce(&sluicepb.EntityEvent{Entity: &sluicepb.EntityId{Type: kind, Id: id[:]}}); err != nil {
		t.Fatal(err)
	}
}

// Changed announces that d changed: deleted, with other credentials, or otherwise.
func (r *Rig) Changed(t testing.TB, d *Device, deleted, credentials bool) {
	t.Helper()
	r.await(t, r.Bus.followed)
	err := r.Bus.Announce(&sluicepb.EntityEvent{
		TenantId: d.Tenant.ID[:], Entity: &sluicepb.EntityId{Type: ident.Device, Id: d.ID.ID[:]},
		Deleted: deleted, CredentialsChanged: credentials, CredentialsIds: []string{d.Token},
	})
	if err != nil {
		t.Fatal(err)
	}
}
