package gateway

import (
	"log/slog"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/transport"
)

// Platform is what gateways need of the platform.
type Platform interface {
	transport.Uplinks
	transport.AttributeReader
	transport.Sessions
	transport.Gateways
	transport.RPCs
	transport.Claims
}

// Bounds are the same for every gateway.
type Bounds struct {
	Devices     int // behind one gateway
	QueuedBytes int // of one gateway's messages for devices that are not ready; one message may exceed it
	Openings    int // devices of one gateway that are looked for at a time
	Reads       int // attribute requests of one gateway that are answered at a time, one for each device
	Connectors  int // of one gateway, whose latencies are measured
	Notices     int // to one gateway a second
	Closings    int // sessions of lost gateways that are closed in a second, over all

	OpenTimeout   time.Duration // how long it may take to find a device and open its session
	MetricsEvery  time.Duration
	ActivityEvery time.Duration
}

// Hub is what the gateways of a service share. Safe for concurrent use.
type Hub struct {
	bounds   Bounds
	platform Platform
	metrics  *Metrics
	log      *slog.Logger
	farewell farewell
	openings window
	// running are the goroutines and timers of all gateways.
	running  sync.WaitGroup
	stopping chan struct{}

	parts, publications sync.Pool
}

// NewHub returns a Hub.
func NewHub(b Bounds, platform Platform, m *Metrics, log *slog.Logger) *Hub {
	h := &Hub{bounds: b, platform: platform, metrics: m, log: log, stopping: make(chan struct{})}
	h.farewell.hub = h
	h.openings = window{slow: b.OpenTimeout / 10, waiting: m.waiting, size: leastOpenings, steep: true}
	h.parts.New = func() any {
		p := new(part)
		p.done = p.published
		return p
	}
	h.publications.New = func() any { return new(publication) }
	return h
}

// Stop waits until nothing is under way for any gateway. End their contexts and Close them first; call it once.
func (h *Hub) Stop() {
	close(h.stopping)
	h.running.Wait()
}

// after runs f after d; Stop waits for it. Who stops the timer in time calls running.Done.
func (h *Hub) after(d time.Duration, f func()) *time.Timer {
	h.running.Add(1)
	return time.AfterFunc(d, func() {
		defer h.running.Done()
		f()
	})
}
