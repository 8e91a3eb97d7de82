//go:build fleet

package system

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/parts/part"
)

func TestScratch(t *testing.T) {
	dir, _ := os.MkdirTemp("", "scratch-")
	defer os.RemoveAll(dir)
	k, err := part.NewKafka(t.Context(), dir, part.KafkaOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer k.Stop()
	ctx, c := context.WithTimeout(t.Context(), 2*time.Minute)
	defer c()
	f := NewFleet(ctx, t, &Parts{Kafka: k, dir: dir}, FleetOptions{Core: 1, Flags: []string{"--demo=true"}})
	b := time.Now()
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Log("started", time.Since(b))
	f.Parts.user, f.Parts.password = "sysadmin@thingsboard.org", "sysadmin"
	if err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, f)
	devices := newDevices(ctx, t, f.Doors(), tenant, 30)
	stop := devices.run(ctx, t)
	devices.awaitAcknowledged(ctx, t, 300)
	f.MQTT[0].Kill()
	devices.awaitAcknowledged(ctx, t, devices.acknowledged()+300)
	b = time.Now()
	if err := f.Stop(); err != nil {
		t.Error(err)
	}
	t.Log("stopped", time.Since(b))
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	devices.awaitAcknowledged(ctx, t, devices.acknowledged()+300)
	stop()
	total := devices.check(ctx, t, tenant)
	t.Logf("sent %d, acknowledged %d, stored %d, lost %d, duplicates %d, resent %d",
		total.Sent, total.Acknowledged, total.Stored, len(total.Lost), total.Duplicates, total.Resent)
}
