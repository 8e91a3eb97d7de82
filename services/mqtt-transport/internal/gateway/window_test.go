package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// busyCore makes devices one after the other; who stands in line for longer than a call's budget is given up, and made all the same.
type busyCore struct {
	*fake
	each, budget time.Duration
	line         chan struct{}
	most         int // that stood in line
}

func (b *busyCore) Behind(_ context.Context, _ *transport.Device, name, _ string) (*transport.Device, error) {
	began := time.Now()
	b.mu.Lock()
	b.reading++
	b.most = max(b.most, b.reading)
	b.mu.Unlock()
	b.line <- struct{}{}
	time.Sleep(b.each)
	<-b.line
	b.mu.Lock()
	b.reading--
	b.mu.Unlock()
	if time.Since(began) > b.budget {
		return nil, fault.New(fault.Unavailable, "no answer in time")
	}
	return &transport.Device{Name: name}, nil
}

// startBusy opens gateways at a core that is busy, in a bubble, and has each speak of so many devices at once.
func startBusy(t *testing.T, core *busyCore, gateways, devices int, test func(all []*bench)) {
	synctest.Test(t, func(t *testing.T) {
		core.fake, core.line = newFake(), make(chan struct{}, 1)
		bounds := testBounds
		bounds.Devices, bounds.Openings, bounds.QueuedBytes = devices, 64, 1<<20
		m, err := NewMetrics(nil)
		if err != nil {
			t.Fatal(err)
		}
		hub := NewHub(bounds, core, m, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var all []*bench
		for i := range gateways {
			b := &bench{t: t, fake: core.fake, hub: hub, results: map[int]Result{}}
			peer := Peer{Device: &transport.Device{Name: fmt.Sprint("G", i)}, Protobuf: func() bool { return false }}
			b.Gateway = hub.Open(ctx, peer, b)
			var payload strings.Builder
			for n := range devices {
				fmt.Fprintf(&payload, `,"D%d.%d":[{"t":1}]`, i, n)
			}
			b.take(topic.GatewayTelemetry, "{"+payload.String()[1:]+"}")
			all = append(all, b)
		}
		test(all)
		for _, b := range all {
			b.Gateway.Close()
		}
		cancel()
		hub.Stop()
		if hub.openings.inside != 0 || len(hub.openings.lines) > 0 {
			t.Errorf("%d are still being opened, %d lines wait", hub.openings.inside, len(hub.openings.lines))
		}
	})
}

// TestManyDevicesWaitHereAndNotAtTheCore: no call is kept for longer than its budget, and the core is never without one.
func TestManyDevicesWaitHereAndNotAtTheCore(t *testing.T) {
	for _, each := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond} {
		t.Run(each.String(), func(t *testing.T) {
			core := &busyCore{each: each, budget: 5 * time.Second}
			startBusy(t, core, 10, 200, func(all []*bench) {
				time.Sleep(2000*each + each)
				for i, b := range all {
					if got := b.result(1); got != "accepted" {
						t.Errorf("gateway %d: %s", i, got)
					}
				}
			})
			if line := time.Duration(core.most) * each; line > 2500*time.Millisecond {
				t.Errorf("%d stood in line, for %v", core.most, line)
			}
		})
	}
}

// TestGatewaysTakeTurns: one with few devices does not wait for all of another's.
func TestGatewaysTakeTurns(t *testing.T) {
	core := &busyCore{each: 20 * time.Millisecond, budget: 5 * time.Second}
	startBusy(t, core, 2, 200, func(all []*bench) {
		time.Sleep(time.Second)
		late := &bench{t: all[0].t, fake: core.fake, hub: all[0].hub, results: map[int]Result{}}
		late.Gateway = late.hub.Open(late.t.Context(), Peer{Device: &transport.Device{Name: "late"}, Protobuf: func() bool { return false }}, late)
		defer late.Gateway.Close()
		n := late.take(topic.GatewayTelemetry, `{"L":[{"t":1}]}`)
		time.Sleep(1200 * time.Millisecond)
		if got := late.result(n); got != "accepted" {
			t.Errorf("the other gateway's: %s", got)
		}
		time.Sleep(10 * time.Second)
	})
}

func TestWindowFollowsTheCore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := NewMetrics(nil)
		if err != nil {
			t.Fatal(err)
		}
		w := &window{slow: time.Second, waiting: m.waiting, size: 100}
		away := fault.New(fault.Unavailable, "away")
		enter := func(n int) {
			for range n {
				if err := w.enter(t.Context(), new(line)); err != nil {
					t.Fatal(err)
				}
			}
		}
		enter(100)
		began := time.Now()
		time.Sleep(time.Millisecond)
		for range 50 { // all let in at one time: that is one sign, not fifty
			w.leave(began, away)
		}
		if w.size != 50 {
			t.Errorf("%v after an outage", w.size)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.enter(ended, new(line)); !errors.Is(err, context.Canceled) || len(w.lines) > 0 {
			t.Errorf("let in although it is full: %v, %d lines", err, len(w.lines))
		}
		for range 10 {
			time.Sleep(2 * time.Second)
			w.leave(time.Now().Add(-1500*time.Millisecond), nil)
		}
		if w.size != leastOpenings {
			t.Errorf("%v when all is slow", w.size)
		}
		for range 40 {
			w.leave(time.Now(), nil)
		}
		if w.inside != 0 || w.size != leastOpenings {
			t.Errorf("%v although nobody needs more, %d inside", w.size, w.inside)
		}
	})
}
