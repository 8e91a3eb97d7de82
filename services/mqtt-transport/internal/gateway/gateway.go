// Package gateway is what a gateway's connection does for the devices behind it (device-api §2): it takes messages apart
// that speak of several devices, finds or creates each of these, keeps a session for it, and hands each device's share to
// the platform. A device that is slow to be found, or whose queue is full, holds up its own messages only.
//
// A Gateway belongs to one accepted connection of a gateway; Close it when that is over. It does no I/O of its own.
package gateway

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// Protocol is what uplinks and sessions say they came over.
const Protocol = "MQTT"

// Connection is a gateway's connection as the devices behind it see it. Its methods are called from any goroutine, with no
// lock held; they must not block.
type Connection interface {
	// Send publishes to the gateway at the quality of service that f asks for.
	Send(f topic.Filter, name string, payload []byte)
	// SendRequest is Send for a request to d, and tells the platform (transport.RPCs.ReportRPC) what becomes of it.
	SendRequest(d *transport.Device, session ident.ID, r transport.RPCRequest, payload []byte)
	// Resume says that what Take had no room for may be tried again.
	Resume()
	// Panicked ends the connection: a bug was met in its service.
	Panicked(what any)
}

// Receipt waits for what becomes of a message. Concluded is called once.
type Receipt interface{ Concluded(Result) }

// Peer is the gateway itself.
type Peer struct {
	Device  *transport.Device
	Session ident.ID
	// Notices: it can be told of single devices that were refused (MQTT 5).
	Notices bool
	// Protobuf tells whether its profile wants protobuf in place of JSON, at the moment.
	Protobuf func() bool
	// OverwriteActivity: what is heard of it counts for the devices behind it.
	OverwriteActivity bool
}

// Gateway is what one connection holds of the devices behind it. Take belongs to the connection's reader; all else may be
// called from any goroutine.
type Gateway struct {
	hub        *Hub
	peer       Peer
	connection Connection
	ctx        context.Context // ends when nothing is waited for any longer
	cancel     context.CancelFunc

	split     splitter // the reader's alone
	latencies latencies
	// relaying: the devices will be told of as active before long.
	relaying atomic.Bool
	relay    *time.Timer // by mu

	mu       sync.Mutex
	closed   bool
	expiry   *time.Timer // what still goes on is given up, once closed
	children map[string]*child
	away     int  // children whose session is elsewhere
	waiting  int  // bytes of parts that wait, each with its overhead
	paused   bool // Take had no room
	// toOpen are children that wait for one of the openers, reading those that wait for a read to end.
	toOpen, toRead queue
	openers, reads int
	line           line // of openers, by the hub's window
	// blocked are children whose queue to the bus is full, by what tells that it is no longer.
	blocked map[<-chan struct{}][]*child
	// notices sent in the second that began at noticed (ms since the epoch).
	notices int
	noticed int64
}

// Open returns the Gateway of a connection that was just accepted. What it starts ends at the latest when ctx does.
func (h *Hub) Open(ctx context.Context, p Peer, c Connection) *Gateway {
	g := &Gateway{hub: h, peer: p, connection: c, children: map[string]*child{}}
	g.ctx, g.cancel = context.WithCancel(ctx)
	return g
}

// Close gives all devices up: the connection is over. What was taken on goes on, for a while; then each device's session is
// closed, so many a second.
func (g *Gateway) Close() {
	g.mu.Lock()
	g.closed = true
	var sessions []transport.Session
	for name, c := range g.children {
		if !c.busy {
			if c.handle != nil {
				sessions = append(sessions, c.handle)
				g.hub.metrics.devices.Dec()
			}
			delete(g.children, name)
		}
	}
	g.away = 0
	if len(g.children) > 0 {
		g.expiry = g.hub.after(g.hub.bounds.OpenTimeout, g.cancel)
	} else {
		g.cancel()
	}
	if g.relay != nil && g.relay.Stop() {
		g.hub.running.Done()
	}
	g.mu.Unlock()
	g.latencies.close(g)
	g.hub.farewell.add(sessions)
}

// spawn runs f in a goroutine of its own, which the Hub waits for. A panic ends this connection only.
func (g *Gateway) spawn(f func()) {
	g.hub.running.Go(func() {
		defer g.survive()
		f()
	})
}

func (g *Gateway) survive() {
	if what := recover(); what != nil {
		g.connection.Panicked(what)
	}
}

// Active notes that something was heard of the gateway. It is cheap.
func (g *Gateway) Active() {
	if !g.peer.OverwriteActivity || g.relaying.Swap(true) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.relay = g.hub.after(g.hub.bounds.ActivityEvery, g.relayActivity)
	}
}

// relayActivity tells of all devices as active.
func (g *Gateway) relayActivity() {
	defer g.survive()
	g.relaying.Store(false)
	g.mu.Lock()
	sessions := make([]transport.Session, 0, len(g.children))
	for _, c := range g.children {
		if c.handle != nil && !g.closed {
			sessions = append(sessions, c.handle)
		}
	}
	g.mu.Unlock()
	for _, s := range sessions {
		s.Active()
	}
}
