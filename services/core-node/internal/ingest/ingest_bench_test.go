package ingest

import (
	"context"
	"testing"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// benchMessages is one round: 200 devices with 100 messages of 3 values each.
const benchDevices, benchEach = 200, 100

// BenchmarkIngest is the whole path of a partition: decode, chain, store. "alone" leaves the store's own
// work out. One operation is one message of three values.
func BenchmarkIngest(b *testing.B) {
	for name, discard := range map[string]bool{"pebble": false, "alone": true} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			if discard {
				w.store.Telemetry = nowhere{w.store.Telemetry}
			}
			fleet := make([]entity.Device, benchDevices)
			for i := range fleet {
				fleet[i] = w.device("device")
			}
			w.start()
			b.ReportAllocs()
			clock, done := int64(1_700_000_000_000), int64(0)
			for b.Loop() {
				b.StopTimer()
				clock++
				w.fill(fleet, clock*benchEach)
				done += benchDevices * benchEach
				b.StartTimer()
				w.release()
				w.eventually("everything committed", func() bool { return w.bus.committed(topics.RuleEngine, 0).offset == done })
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(done), "ns/message")
			b.StopTimer()
			w.halt()
		})
	}
}

// fill adds a round of messages without waking the partition.
func (w *world) fill(fleet []entity.Device, at int64) {
	w.bus.mu.Lock()
	defer w.bus.mu.Unlock()
	key := "tb.rule-engine/0"
	for n := range int64(benchEach) {
		for _, d := range fleet {
			u := w.uplink(d, telemetry.Record{Time: at + n, OwnTime: true, Values: []telemetry.KeyValue{
				{Key: "temperature", Value: telemetry.OfDouble(21.5)},
				{Key: "humidity", Value: telemetry.OfLong(40 + n)},
				{Key: "status", Value: telemetry.OfString("running")},
			}})
			w.bus.records[key] = append(w.bus.records[key], bus.Record{
				Offset:  int64(len(w.bus.records[key])),
				Message: bus.Message{Topic: topics.RuleEngine, Key: d.ID.ID[:], Value: telemetry.AppendUplink(nil, u)},
			})
		}
	}
}

func (w *world) release() {
	w.bus.mu.Lock()
	defer w.bus.mu.Unlock()
	close(w.bus.changed)
	w.bus.changed = make(chan struct{})
}

// nowhere takes writes and keeps nothing.
type nowhere struct{ storage.Telemetry }

func (nowhere) Write(_ context.Context, _ []storage.Write) error { return nil }
