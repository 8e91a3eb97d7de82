package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// swift is a platform that has everything at once, and keeps nothing.
type swift struct{ *fake }

type ready struct{ id ident.ID }

func (r *ready) ID() ident.ID    { return r.id }
func (*ready) Active()           {}
func (*ready) SubscribeRPC(bool) {}
func (*ready) Close()            {}

func (swift) Behind(context.Context, *transport.Device, string, string) (*transport.Device, error) {
	return new(transport.Device), nil
}

func (swift) Open(context.Context, *transport.Device, string, transport.Downlinks) (transport.Session, error) {
	return &ready{}, nil
}

func (swift) PublishTelemetry(_ *transport.Device, _ transport.Origin, _ []byte, done func(error)) error {
	done(nil)
	return nil
}

type concluded chan Result

func (c concluded) Concluded(r Result) { c <- r }

// benchGateway returns a gateway to which that many devices are known, and a message of one reading each.
func benchGateway(tb testing.TB, devices, most int) (*Gateway, []byte, concluded) {
	m, err := NewMetrics(nil)
	if err != nil {
		tb.Fatal(err)
	}
	bounds := testBounds
	bounds.Devices, bounds.QueuedBytes = most, 1<<30
	h := NewHub(bounds, swift{}, m, slog.New(slog.DiscardHandler))
	g := h.Open(context.Background(), Peer{Device: new(transport.Device), Protobuf: func() bool { return false }}, nil)
	tb.Cleanup(func() {
		g.Close()
		h.Stop()
	})
	message, done := readings(devices), make(concluded, 1)
	g.Take(topic.GatewayTelemetry, "v1/gateway/telemetry", message, done)
	if r := <-done; r != Accepted {
		tb.Fatal(r)
	}
	return g, message, done
}

// BenchmarkTake takes a message of 64 devices apart and hands their shares on.
func BenchmarkTake(b *testing.B) {
	const devices = 64
	g, message, done := benchGateway(b, devices, devices)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		g.Take(topic.GatewayTelemetry, "v1/gateway/telemetry", message, done)
		<-done
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/devices, "ns/reading")
}

// TestMemory bounds what a device behind a gateway costs here, beside what the platform keeps of it.
func TestMemory(t *testing.T) {
	const devices, most = 20_000, 700
	g, _, done := benchGateway(t, 1, devices+1)
	before := heap()
	for i := range devices {
		g.Take(topic.GatewayConnect, "v1/gateway/connect", fmt.Appendf(nil, `{"device":"Device number %d"}`, i), done)
		<-done
	}
	bytes := (heap() - before) / devices
	t.Logf("%d B for each device", bytes)
	if bytes > most {
		t.Errorf("%d B for each device, want at most %d", bytes, most)
	}
	runtime.KeepAlive(g)
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
