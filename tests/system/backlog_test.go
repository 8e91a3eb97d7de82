//go:build !fleet

package system

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// TestBacklogIsBounded floods the broker beyond what the core node keeps up with: devices are refused,
// people can still write, nothing acknowledged is lost, and when the flood is over devices are heard again.
func TestBacklogIsBounded(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	platform := NewStandalone(t, "--broker-backlog-bytes=2097152", "--core-call-budget=2s")
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, platform)
	probe, err := tenant.NewDevice(ctx, "probe", "PROBE_TOKEN")
	if err != nil {
		t.Fatal(err)
	}
	devices := newDevices(ctx, t, platform.Doors(), tenant, 12)
	stop := devices.run(ctx, t)
	devices.awaitAcknowledged(ctx, t, 50)

	// A burst far beyond the bound, on the wire of the broker: what core nodes cannot keep up with.
	tenantID, err := tenant.ID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	flood := flooding(ctx, platform.Kafka, tenantID, probe)
	refused, saved := 0, 0
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
		if probeHTTP(ctx, platform.Doors().HTTP, "PROBE_TOKEN", []byte(`{"probe":2}`)) == "503 retry" {
			refused++
		}
		if tenant.SaveAttributes(ctx, probe, map[string]any{"note": saved}) == nil {
			saved++
		}
	}
	sent, bounced := flood()
	if bounced == 0 || refused == 0 {
		t.Errorf("of the flood's %d batches %d were refused, and %d of the readings", sent, bounced, refused)
	}
	if saved == 0 {
		t.Error("no attribute could be written beside the flood")
	}
	eventually(ctx, t, 20*time.Second, func() error { return Probe(ctx, platform.Doors(), "PROBE_TOKEN").Accepted() })
	if err := tenant.SaveAttributes(ctx, probe, map[string]any{"note": "after"}); err != nil {
		t.Error(err)
	}
	devices.awaitAcknowledged(ctx, t, devices.acknowledged()+50)
	stop()
	total := devices.check(ctx, t, tenant)
	awaitFates(ctx, t, platform)
	t.Logf("flood: %d batches, %d refused; readings refused %d, attributes written %d; acknowledged %d, lost %d",
		sent, bounced, refused, saved, total.Acknowledged, len(total.Lost))
}

// flooding writes batches to both partitions as fast as they are taken. Calling what it returns ends it.
func flooding(ctx context.Context, broker, tenant, device string) (end func() (sent, refused int)) {
	ctx, cancel := context.WithCancel(ctx)
	type count struct{ sent, refused int }
	counts := make(chan count, partitions)
	value := encodeUplink(tenant, device, "flood", 1)
	client := &kafka.Client{Addr: kafka.TCP(broker)}
	for partition := range partitions {
		go func() {
			var c count
			for ctx.Err() == nil {
				records := make([]kafka.Record, 50) // small, so that they fill the backlog to its brim
				for i := range records {
					records[i].Value = kafka.NewBytes(value)
				}
				answer, err := client.Produce(ctx, &kafka.ProduceRequest{
					Topic: uplinkTopic, Partition: partition, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(records...),
				})
				if c.sent++; err != nil || answer.Error != nil {
					c.refused++
				}
			}
			counts <- c
		}()
	}
	return func() (sent, refused int) {
		cancel()
		for range partitions {
			c := <-counts
			sent, refused = sent+c.sent, refused+c.refused
		}
		return sent, refused
	}
}
