//go:build fleet

// Package redis causes Redis's faults for real, under load: killed, flushed, paused (F19). What transports
// answer must not depend on it.
package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/tests/parts/part"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

const (
	members = 3
	devices = 500
	workers = 12
	// phase is how long each state of Redis lasts.
	phase = 3 * time.Second
)

// device is one whose credentials come and go. state%4: 0 right, 2 revoked everywhere, odd in between.
type device struct {
	token string
	core  *transporttest.Device
	state atomic.Int64
}

// stage is a fleet's transports over one core, with a Redis to do things to.
type stage struct {
	rig     *transporttest.Rig
	members []*transport.Transport
	metrics []*prometheus.Registry
	devices []*device

	mu      sync.Mutex
	waits   []time.Duration
	refused int // a right device
	wrong   int // a revoked one that was let in, or one taken for another
}

func newStage(t *testing.T, url, mode string, change func(*transport.Config)) *stage {
	t.Helper()
	s := &stage{rig: transporttest.Start(t, nil)}
	for i := range devices {
		token := fmt.Sprint("TOKEN", i)
		s.devices = append(s.devices, &device{token: token, core: s.rig.Core.AddDevice(token)})
	}
	for range members {
		registry := prometheus.NewRegistry()
		m := s.rig.Join(t, s.rig.Bus, transport.Options{Metrics: registry}, func(c *transport.Config) {
			c.Redis.URL, c.Redis.Mode = url, mode
			c.CredentialsCached = 20  // so that nearly all is looked for in Redis
			c.CredentialsRejected = 1 // a device that is right again is right at once
			if change != nil {
				change(c)
			}
		})
		s.members, s.metrics = append(s.members, m.Transport), append(s.metrics, registry)
	}
	return s
}

// looked returns how many look-ups ended in each result.
func (s *stage) looked(t *testing.T) map[string]int {
	t.Helper()
	sum := map[string]int{}
	for _, registry := range s.metrics {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "transport_redis_lookups_total" {
				for _, m := range f.GetMetric() {
					sum[m.GetLabel()[0].GetValue()] += int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return sum
}

// load authenticates at random and revokes and grants at random, until ctx ends.
func (s *stage) load(ctx context.Context, t *testing.T, running *sync.WaitGroup) {
	for range workers {
		running.Go(func() {
			for ctx.Err() == nil {
				s.authenticate(s.devices[rand.IntN(devices)], s.members[rand.IntN(members)])
				time.Sleep(time.Millisecond) // thousands a second are enough
			}
		})
	}
	running.Go(func() {
		for ctx.Err() == nil {
			s.change(t, s.devices[rand.IntN(devices)])
			time.Sleep(2 * time.Millisecond)
		}
	})
}

func (s *stage) authenticate(d *device, m *transport.Transport) {
	before, began := d.state.Load(), time.Now()
	found, err := m.Authenticate(context.Background(), transport.Credentials{Token: d.token})
	waited := time.Since(began)
	steady := d.state.Load() == before
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits = append(s.waits, waited)
	switch {
	case err == nil && found.ID != d.core.ID, err == nil && steady && before%4 == 2:
		s.wrong++
	case err != nil && steady && before%4 == 0, err != nil && fault.KindOf(err) != fault.Unauthenticated:
		s.refused++
	}
}

// change revokes a right device, or makes a revoked one right; after it every transport has heard of it.
func (s *stage) change(t *testing.T, d *device) {
	revoke := d.state.Add(1)%4 == 1
	if revoke {
		s.rig.Core.Remove(d.core)
	} else {
		s.rig.Core.Add(d.core)
	}
	s.rig.Changed(t, d.core, false, true)
	d.state.Add(1)
}

// during runs act, waits a phase and reports what the fleet answered meanwhile.
func (s *stage) during(t *testing.T, what string, act func() error) (looked map[string]int) {
	t.Helper()
	before := s.looked(t)
	s.mu.Lock()
	s.waits = s.waits[:0]
	s.mu.Unlock()
	if err := act(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	time.Sleep(phase)
	looked = s.looked(t)
	for result, n := range before {
		looked[result] -= n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.waits)
	at := func(share float64) time.Duration { return s.waits[int(share*float64(len(s.waits)-1))] }
	t.Logf("%-9s %7d answers, p50 %v, p99 %v, max %v; look-ups %v", what, len(s.waits), at(.5), at(.99), at(1), looked)
	if len(s.waits) < 100 {
		t.Errorf("%s: only %d answers", what, len(s.waits))
	}
	return looked
}

// TestFaultsOfRedisCostLatencyOnly is F19.
func TestFaultsOfRedisCostLatencyOnly(t *testing.T) {
	r := start(t, part.NewRedis)
	s := newStage(t, "redis://"+r.Address(), "standalone", nil)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	s.load(ctx, t, &running)
	defer running.Wait()
	defer stop()
	inUse := func(what string, looked map[string]int) {
		if looked["hit"] == 0 || looked["stale"] == 0 {
			t.Errorf("%s: Redis is not in use: %v", what, looked)
		}
	}
	away := func(what string, looked map[string]int) {
		if looked["away"] < 100 || looked["error"] == 0 {
			t.Errorf("%s: it took no effect: %v", what, looked)
		}
		// Those on their way when it happened wait once, nobody else does.
		if looked["error"] > members*workers {
			t.Errorf("%s: %d look-ups waited in vain", what, looked["error"])
		}
	}
	nothing := func() error { return nil }
	s.during(t, "warm-up", nothing)
	inUse("up", s.during(t, "up", nothing))
	away("killed", s.during(t, "killed", func() error { r.Kill(); return nil }))
	s.during(t, "restarted", func() error { return r.Start(ctx) })
	inUse("back", s.during(t, "back", nothing))
	flushed := s.during(t, "flushed", func() error {
		for range 20 {
			if err := command(ctx, r.Address(), "FLUSHALL"); err != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
		return nil
	})
	if flushed["miss"] == 0 {
		t.Errorf("flushed: it took no effect: %v", flushed)
	}
	away("paused", s.during(t, "paused", r.Pause))
	s.during(t, "continued", r.Continue)
	inUse("again", s.during(t, "again", nothing))
	stop()
	running.Wait()
	if s.wrong != 0 || s.refused != 0 {
		t.Errorf("%d wrong answers, %d refused devices", s.wrong, s.refused)
	}
}

// TestRateOfAFleet measures how far three transports together keep to one tenant's rate.
func TestRateOfAFleet(t *testing.T) {
	address := os.Getenv("SLUICE_TEST_REDIS")
	if address == "" {
		t.Fatal("SLUICE_TEST_REDIS names no Redis")
	}
	const capacity, seconds = 1000, 6
	s := newStage(t, "redis://"+address, "standalone", func(c *transport.Config) {
		c.TenantLimits.Telemetry = fmt.Sprint(capacity, ":1")
	})
	tenant := s.devices[0].core.Tenant
	s.rig.Core.Change(func() {
		for _, d := range s.devices {
			d.core.Tenant = tenant
		}
	})
	time.Sleep(time.Second) // until Redis was heard from
	var passed atomic.Int64
	var sending sync.WaitGroup
	ended := time.Now().Add(seconds * time.Second)
	for i, m := range s.members {
		d, err := m.Authenticate(t.Context(), transport.Credentials{Token: s.devices[i].token})
		if err != nil {
			t.Fatal(err)
		}
		sending.Go(func() {
			for time.Now().Before(ended) {
				for range 10 { // three times the rate is wanted by each
					if m.PublishTelemetry(d, transport.Origin{Transport: "MQTT"}, []byte(`{"a":1}`), func(error) {}) == nil {
						passed.Add(1)
					}
				}
				time.Sleep(3 * time.Millisecond)
			}
		})
	}
	sending.Wait()
	fair := int64(capacity + capacity*seconds)
	t.Logf("%d passed in %d s through %d transports; one process allows %d, each alone %d", passed.Load(), seconds, members, fair, members*fair)
	if got := passed.Load(); got < fair*8/10 || got > fair+capacity {
		t.Errorf("%d passed, want about %d", got, fair)
	}
}
