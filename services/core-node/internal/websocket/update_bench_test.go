package websocket

import (
	"testing"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// BenchmarkDeliver is what one save costs for one client who keeps up: matched, queued, written out.
func BenchmarkDeliver(b *testing.B) {
	settings := DefaultSettings()
	one := &session{server: &Server{}, out: newOutbox(&settings)}
	sub := &subscription{id: 1, out: one, scopes: []storage.Scope{storage.Timeseries}, latest: true, newest: map[string]int64{}, maxKeys: 100}
	u := live.Update{Values: []telemetry.KeyValue{
		{Key: "temperature", Value: telemetry.OfDouble(21.5)}, {Key: "humidity", Value: telemetry.OfLong(40)}, {Key: "ok", Value: telemetry.OfBool(true)},
	}}
	var frame []byte
	b.ReportAllocs()
	for b.Loop() {
		u.Time++
		sub.deliver(u)
		next, ok := one.out.take()
		if !ok {
			b.Fatal("nothing to send")
		}
		frame = next.update.appendTo(frame[:0])
	}
}
