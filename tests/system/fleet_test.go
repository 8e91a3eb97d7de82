//go:build fleet

package system

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/system/ledger"
)

// TestAnyProcessMayDie kills one process of each role under load and starts it again, then adds a core node and takes one away.
func TestAnyProcessMayDie(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	fleet := NewFleet(ctx, t, shared(t), FleetOptions{})
	began := time.Now()
	if err := fleet.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("the fleet is ready after %s", time.Since(began).Round(time.Millisecond))
	tenant := firstTenant(ctx, t, fleet)
	devices := newDevices(ctx, t, fleet.Doors(), tenant, 60)
	stop := devices.run(ctx, t)
	goOn := func() { devices.awaitAcknowledged(ctx, t, devices.acknowledged()+2*len(devices.firmware)) }
	goOn()
	for _, role := range []*Role{fleet.Core[0], fleet.MQTT[0], fleet.HTTP[0], fleet.CoAP[0]} {
		gap := devices.watchGap(ctx)
		role.Kill()
		if role != fleet.CoAP[0] { // there is one, and CoAP's devices wait for it
			goOn()
		}
		if err := role.Start(ctx); err != nil {
			t.Fatal(err)
		}
		goOn()
		t.Logf("%s killed: nothing was acknowledged for at most %s", role.Name, gap().Round(time.Millisecond))
	}
	if _, err := fleet.AddCore(ctx); err != nil {
		t.Fatal(err)
	}
	goOn()
	if err := fleet.Core[1].stopClean(); err != nil {
		t.Error(err)
	}
	goOn()
	stop()
	total := devices.check(ctx, t, tenant)
	awaitFates(ctx, t, fleet)
	t.Logf("sent %d, acknowledged %d, stored %d, lost %d, duplicates %d, resent %d",
		total.Sent, total.Acknowledged, total.Stored, len(total.Lost), total.Duplicates, total.Resent)
}

// TestEveryNodeTellsTheSame watches the same devices at every core node, whoever owns them, and asks every node for what is stored.
func TestEveryNodeTellsTheSame(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	fleet := NewFleet(ctx, t, shared(t), FleetOptions{})
	if err := fleet.Start(ctx); err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, fleet)
	devices := newDevices(ctx, t, fleet.Doors(), tenant, 30)
	var seen []func(int) []ledger.Row
	for _, node := range fleet.Core {
		seen = append(seen, watch(ctx, t, tenant, node.Listen, devices.ids))
	}
	stop := devices.run(ctx, t)
	devices.awaitAcknowledged(ctx, t, 10*len(devices.firmware))
	stop()
	devices.check(ctx, t, tenant)
	for i, node := range fleet.Core {
		here := *tenant
		here.base = "http://" + node.Listen
		for device, id := range devices.ids {
			rows, err := here.Rows(ctx, id, "n")
			if err != nil {
				t.Fatalf("%s: %v", node.Name, err)
			}
			if verdict := devices.firmware[device].Account.Check(rows); len(verdict.Lost) > 0 {
				t.Errorf("%s does not tell of %d readings of %s", node.Name, len(verdict.Lost), id)
			}
			eventually(ctx, t, 5*time.Second, func() error {
				for _, row := range rows {
					if !slices.Contains(seen[i](device), row) {
						return fmt.Errorf("%s never showed reading %+v of %s", node.Name, row, id)
					}
				}
				return nil
			})
		}
	}
}
