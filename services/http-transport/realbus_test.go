package httptransport

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// realDoor is the service on an embedded broker that syncs to disk, with a core beside it.
func realDoor(t testing.TB) (base string, owner *bus.Client) {
	t.Helper()
	address := bustest.DurableBroker(t)
	owner = bustest.Dial(t, address, bus.Options{Node: "core", ReplyPrefix: topics.CoreResponses})
	own := bustest.Dial(t, address, bus.Options{Node: "http", ReplyPrefix: topics.TransportResponses})
	core := transporttest.NewCore()
	core.AddDevice("T")
	addDevices(core)
	tr, err := transport.New(transporttest.Config(t), own, transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func() error{
		func() error { return core.Serve(ctx, owner) },
		func() error { return tr.Run(ctx) },
	} {
		running.Go(func() {
			if err := run(); err != nil {
				t.Error(err)
			}
		})
	}
	base, stop := serve(t, defaults(t), tr)
	t.Cleanup(func() {
		stop()
		cancel()
		running.Wait()
	})
	return base, owner
}

// What was answered 200 is on the broker's disk, and reads as what was sent.
func TestOverARealBus(t *testing.T) {
	base, owner := realDoor(t)
	const readings = 50
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	next := make(chan int)
	for range 8 {
		all.Go(func() {
			for i := range next {
				response, err := client.Post(base+"T/telemetry", "application/json", strings.NewReader(fmt.Sprintf(`{"n":%d}`, i)))
				if err != nil {
					t.Error(err)
					continue
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode != 200 {
					t.Errorf("reading %d: %d", i, response.StatusCode)
				}
			}
		})
	}
	for i := range readings {
		next <- i
	}
	close(next)
	all.Wait()
	seen, times := map[int64]bool{}, map[int64]bool{}
	for _, u := range readUplinks(t, owner, readings) {
		seen[u.Telemetry[0].Values[0].Long()] = true
		times[u.Telemetry[0].Time] = true
	}
	if len(seen) != readings || len(times) != readings {
		t.Errorf("%d readings with %d times on the bus, want %d", len(seen), len(times), readings)
	}
}

// readUplinks reads n uplinks from the one partition they are all on.
func readUplinks(t *testing.T, b bus.Bus, n int) []telemetry.Uplink {
	t.Helper()
	found := make(chan []telemetry.Uplink, bustest.Partitions)
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	for partition := range bustest.Partitions {
		reading.Go(func() {
			reader, err := b.OpenReader(ctx, topics.RuleEngine, partition)
			if err != nil {
				if ctx.Err() == nil { // else the other partition had them all
					t.Error(err)
				}
				return
			}
			defer reader.Close()
			var uplinks []telemetry.Uplink
			for len(uplinks) < n {
				records, err := reader.Read(ctx, n)
				if err != nil {
					return
				}
				for _, r := range records {
					var u telemetry.Uplink
					if err := telemetry.ParseUplink(r.Value, &u); err != nil {
						t.Error(err)
					}
					uplinks = append(uplinks, u)
				}
			}
			found <- uplinks
		})
	}
	uplinks := <-found
	cancel()
	reading.Wait()
	return uplinks
}

// BenchmarkRealBus is BenchmarkSockets with a broker that syncs every batch to disk.
func BenchmarkRealBus(b *testing.B) {
	base, _ := realDoor(b)
	bare := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer bare.Close()
	b.Run("service", func(b *testing.B) { posts(b, strings.TrimSuffix(strings.TrimPrefix(base, "http://"), "/api/v1/")) })
	b.Run("bare", func(b *testing.B) { posts(b, bare.Listener.Addr().String()) })
}
