// Package session is one client's connection as MQTT sees it: a state machine that is fed with
// bytes and events and yields bytes, and does no I/O of its own. Whoever owns the socket is its
// Wire.
package session

import (
	"crypto/x509"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/gateway"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
)

// Platform is what sessions need of the platform.
type Platform interface {
	transport.Authenticator
	transport.Provisioner
	transport.Packages
	transport.Formats
	gateway.Platform
}

// Wire is a connection as its session sees it. Its methods are called from any goroutine, the
// session being locked: they must not block, nor call the session.
type Wire interface {
	// Flush says that there are bytes to Take. It is not called again before that was done.
	Flush()
	// Resume says that a paused session may be fed again.
	Resume()
	// Stop says that the session is closing: whoever reads the connection is to stop, write what
	// is left, close it and call Ended.
	Stop()
	// Peer tells of the client. Not after the connection was closed.
	Peer() Peer
}

// Peer is what is known of a client beside its bytes.
type Peer struct {
	Address netip.Addr
	// Certificates are what it showed under TLS, the leaf first.
	Certificates []*x509.Certificate
}

// Rules are the bounds of every session.
type Rules struct {
	ConnectBytes, PacketBytes  int
	InFlight                   int
	OutputBytes                int
	Waiting, Unacknowledged    int // messages to the client
	Downloads                  int // that a connection remembers
	PackageBytes               int // of a package sent in one message
	AttributeReads             int
	ConnectTimeout, Inactivity time.Duration
	Farewell                   packet.Reason // of a service that stops
	Gateways                   gateway.Bounds
	GatewayOutputBytes         int
}

// Hub is what the sessions of a service share. Safe for concurrent use.
type Hub struct {
	rules    Rules
	platform Platform
	gateways *gateway.Hub
	metrics  *Metrics
	log      *slog.Logger

	// now counts ticks. Sessions tell time by it, so that a message costs no look at the clock.
	now atomic.Uint32
	// reads are the attribute requests being answered.
	reads sync.WaitGroup

	messages, outputs sync.Pool
}

// Tick is the unit of a session's deadlines.
const Tick = time.Second

// NewHub returns a Hub. Call Advance once per Tick.
func NewHub(r Rules, platform Platform, m *Metrics, log *slog.Logger) *Hub {
	h := &Hub{rules: r, platform: platform, metrics: m, log: log}
	h.gateways = gateway.NewHub(r.Gateways, platform, m.gateways, log)
	h.messages.New = func() any {
		m := new(message)
		m.done = m.published
		return m
	}
	h.outputs.New = func() any { return new(Output) }
	return h
}

// Advance lets one Tick pass; sessions that are due are closed by Session.Expire.
func (h *Hub) Advance() { h.now.Add(1) }

// Wait waits until no session waits for the platform any more.
func (h *Hub) Wait() { h.reads.Wait() }

// Stop is Wait when there are no sessions any more, nor will be; of those of devices behind gateways it sees the end. Call it once.
func (h *Hub) Stop() {
	h.reads.Wait()
	h.gateways.Stop()
}

// ticksFor returns the tick at which d will have passed for certain.
func (h *Hub) ticksFor(d time.Duration) uint32 {
	return uint32((d+Tick-1)/Tick) + 1
}
