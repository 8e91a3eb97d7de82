//go:build fleet

package system

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/system/ledger"
)

// settled is how long after a hand-over watchers and devices may miss something.
const settled = 2 * time.Second

// TestFaultCoreNodesAddedAndRemoved (F22) adds a core node and takes another away, again and again. A WebSocket at a node that
// stays, and devices that have subscribed, miss nothing that happens later than 2 s after each hand-over.
func TestFaultCoreNodesAddedAndRemoved(t *testing.T) {
	ctx, s := newScene(t, "F22", shared(t), FleetOptions{})
	watcher := &handovers{
		scene: s, subscribers: newSubscribers(ctx, t, s.fleet, s.tenant, 24),
		seen: watch(ctx, t, s.tenant, s.fleet.Core[0].Listen, s.devices.ids),
	}
	rounds := often(3, 20)
	absent, err := s.fleet.AddCore(ctx)
	for i := range rounds {
		if err == nil && i > 0 {
			err = absent.Start(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.awaitShare(ctx, absent)
		watcher.missNothing(ctx, fmt.Sprintf("added %d", i))
		absent = s.fleet.Core[1+i%3] // never the one with the WebSocket
		if err := absent.stopClean(); err != nil {
			t.Error(err)
		}
		s.awaitOwners(ctx)
		watcher.missNothing(ctx, fmt.Sprintf("removed %d", i))
	}
	s.judge(ctx, "a core node added and one removed", rounds)
}

// handovers looks at what is told after each hand-over.
type handovers struct {
	*scene
	subscribers []*subscriber
	seen        func(device int) []ledger.Row
}

// missNothing tells every subscriber something, and has every device send, later than 2 s after a hand-over that has just
// ended, and waits until all of it was told.
func (h *handovers) missNothing(ctx context.Context, mark string) {
	h.t.Helper()
	time.Sleep(settled)
	began := time.Now()
	var saving sync.WaitGroup
	for _, one := range h.subscribers {
		saving.Go(func() {
			if err := errors.Join(one.ping(), h.tenant.SaveShared(ctx, one.id, map[string]any{"mark": mark})); err != nil {
				h.t.Error(err)
			}
		})
	}
	saving.Wait()
	from := make([]int, len(h.devices.firmware))
	for i, device := range h.devices.firmware {
		from[i] = device.Account.AckedCount() + 4 // what is under way was sent before
	}
	for i, device := range h.devices.firmware {
		eventually(ctx, h.t, 10*time.Second, func() error {
			if n := device.Account.AckedCount(); n < from[i]+2 {
				return fmt.Errorf("%s has only %d readings acknowledged, want %d", device.Account.Name, n, from[i]+2)
			}
			return nil
		})
	}
	for i, device := range h.devices.firmware {
		eventually(ctx, h.t, 5*time.Second, func() error { return shows(h.seen(i), device.Account.Name, from[i]+1, from[i]+2) })
	}
	for _, one := range h.subscribers {
		eventually(ctx, h.t, 5*time.Second, func() error { return one.wasTold(fmt.Sprintf("%q", mark)) })
	}
	h.t.Logf("%s: all was told within %s", mark, time.Since(began).Round(10*time.Millisecond))
}

// shows returns nil when the readings from first to last were all shown.
func shows(rows []ledger.Row, name string, first, last int) error {
	shown := map[int]bool{}
	for _, row := range rows {
		shown[row.N] = true
	}
	for n := first; n <= last; n++ {
		if !shown[n] {
			return fmt.Errorf("reading %d of %s was never shown", n, name)
		}
	}
	return nil
}
