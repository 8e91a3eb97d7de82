package gateway

import (
	"sync"
	"time"

	"github.com/sluice-iot/sluice/transport"
)

// farewell closes the sessions of devices whose gateway is gone, so many a second: the end of each is told to its owner, and
// ten thousand at once would be a flood. When the service stops there is no time for that, and all are closed at once; of
// those that the bus has no room for, the owners learn by their not being announced again.
type farewell struct {
	hub *Hub

	mu      sync.Mutex
	waiting []transport.Session
	running bool
}

// farewellStep is how often some are closed.
const farewellStep = 10 * time.Millisecond

// add closes sessions before long. It does not block.
func (f *farewell) add(sessions []transport.Session) {
	if len(sessions) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = append(f.waiting, sessions...)
	f.hub.metrics.closing.Add(float64(len(sessions)))
	if !f.running {
		f.running = true
		f.hub.running.Go(f.run)
	}
}

func (f *farewell) run() {
	ticker := time.NewTicker(farewellStep)
	defer ticker.Stop()
	step := max(1, f.hub.bounds.Closings*int(farewellStep)/int(time.Second))
	for {
		some := f.take(step)
		for _, s := range some {
			s.Close()
		}
		f.hub.metrics.closing.Sub(float64(len(some)))
		if some == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-f.hub.stopping:
			step = 1 << 30
		}
	}
}

// take returns the next n at most; nil ends the run.
func (f *farewell) take(n int) []transport.Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) == 0 {
		f.waiting, f.running = nil, false
		return nil
	}
	some := f.waiting[:min(n, len(f.waiting))]
	f.waiting = f.waiting[len(some):]
	return some
}
