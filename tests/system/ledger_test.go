package system

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

const (
	ledgerDevices = 210
	defaultKills  = 2 // LEDGER_KILLS asks for more
)

// TestLedger kills all of the platform under devices of all three protocols, again and again, and
// holds what was acknowledged against what a query shows.
func TestLedger(t *testing.T) { keepLedger(t, func(context.Context, *Tenant) error { return nil }) }

// TestLedgerScripts does the same with two scripts in the way of every reading.
func TestLedgerScripts(t *testing.T) {
	keepLedger(t, func(ctx context.Context, tenant *Tenant) error { return tenant.UseScripts(ctx) })
}

func keepLedger(t *testing.T, prepare func(context.Context, *Tenant) error) {
	kills := times(t, "LEDGER_KILLS", defaultKills)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+time.Duration(kills)*20*time.Second)
	defer cancel()
	platform := newPlatform(ctx, t)
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, platform)
	t.Cleanup(func() { leaveNothing(t, platform, tenant) })
	if err := prepare(ctx, tenant); err != nil {
		t.Fatal(err)
	}
	devices := newDevices(ctx, t, platform.Doors(), tenant, ledgerDevices)

	stop := devices.run(ctx, t)
	for kill := range kills {
		before := devices.acknowledged()
		devices.awaitAcknowledged(ctx, t, before+len(devices.firmware))
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond) // the moment is to be any
		platform.Kill()
		if err := platform.Start(ctx); err != nil {
			t.Fatalf("start after kill %d: %v", kill+1, err)
		}
	}
	devices.awaitAcknowledged(ctx, t, devices.acknowledged()+len(devices.firmware))
	stop()
	total := devices.check(ctx, t, tenant)
	if t.Failed() {
		letters, err := platform.Operate(ctx, "dead-letters", "list")
		t.Logf("dead letters, %v:\n%s", err, letters)
	}
	t.Logf("%d kills, %d devices: sent %d, acknowledged %d, stored %d, lost %d, duplicates %d, resent %d",
		kills, len(devices.firmware), total.Sent, total.Acknowledged, total.Stored, len(total.Lost), total.Duplicates, total.Resent)
}

// times is how often a scenario repeats what it is about: what the environment asks for, else usual.
func times(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
