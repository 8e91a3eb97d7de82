// Package secure is DTLS 1.2 (RFC 6347) for many connections over a few sockets: it tells by address, or by connection id
// (RFC 9146), whose a datagram is, and bounds what strangers can make it hold. The protocol itself is pion's.
package secure

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/listener"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/order"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/certificate"
)

// Limits bound connections.
type Limits struct {
	// Sessions is how many connections there may be; beyond it one that was idle for EvictAfter makes room, or the new one
	// is refused.
	Sessions   int
	EvictAfter time.Duration
	// Handshakes is how many connections may be being made; the next ends the oldest of them. HandshakesPerAddress is the same of one
	// address, whose next is refused.
	Handshakes, HandshakesPerAddress int
	// HandshakeTimeout is how long one may take.
	HandshakeTimeout time.Duration
	// Failures is how many times a minute one address may fail to prove who it is; then it is not listened to until the minute ends.
	Failures int
	// Idle is how long a connection lasts without a datagram.
	Idle time.Duration
	// Queue is how many datagrams that came wait for a connection; more are dropped, as the network might.
	Queue int
	// DatagramBytes is how much is taken of a record's data; what is longer is cut.
	DatagramBytes int
}

// Counts are what connections count; its methods must be safe for concurrent use and must not block.
type Counts interface {
	// Sessions: there are by so many connections more.
	Sessions(by int)
	// Handshake: one ended as result says: "done", "failed", "refused", "overtaken".
	Handshake(result string)
	// Unsent: a datagram was dropped because too many waited, or its connection was over.
	Unsent()
	// Discarded: a record was not the peer's, or came before.
	Discarded()
	// Panicked: handling a connection panicked, which is a bug.
	Panicked(what any)
}

// Handler takes what came over the connection of from, which belongs to it until it returns.
type Handler func(from exchange.Endpoint, datagram []byte, cut bool)

// Options are what a Server works with.
type Options struct {
	Limits
	// Certificates are those to be shown; nil: devices prove themselves by keys alone.
	Certificates *certificate.Store
	Keys         transport.SharedKeys
	Counts       Counts
	Log          *slog.Logger
}

// Server is all connections. It is a Sink for them.
type Server struct {
	Options
	listener *listener.Listener
	handle   Handler
	running  sync.WaitGroup
	ctx      context.Context // ends the connections; belongs to Close
	cancel   context.CancelFunc

	mu sync.Mutex
	// settled are connections that are made, pending those being made.
	settled, pending map[exchange.Endpoint]*session
	byNumber         map[uint64]*session
	byCID            map[connectionID]*session
	perAddress       map[netip.Addr]int // of pending
	failures         map[netip.Addr]int
	counted          time.Time // since when failures are
	number           uint64
	used, making     order.Queue[session, *session] // settled by last use, pending by age
	closed           bool
}

// cidSize is how long connection ids are (device-api §4.3).
const cidSize = 8

type connectionID [cidSize]byte

// Open binds the sockets of o. Serve starts.
func Open(at listener.Options, o Options, counts listener.Counts) (*Server, error) {
	l, err := listener.Open(at, counts)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Options: o, listener: l, settled: map[exchange.Endpoint]*session{}, pending: map[exchange.Endpoint]*session{},
		byNumber: map[uint64]*session{}, byCID: map[connectionID]*session{}, perAddress: map[netip.Addr]int{}, failures: map[netip.Addr]int{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Addr returns the address of the first socket.
func (s *Server) Addr() string { return s.listener.Addr() }

// Read gives what comes over the connections to handle until StopReading, which is a nil return, or a socket fails.
func (s *Server) Read(handle Handler) error {
	s.handle = handle
	sweeping, stop := context.WithCancel(s.ctx)
	s.running.Go(func() { s.sweep(sweeping) })
	defer stop()
	return s.listener.Read(s.route)
}

// StopReading ends Read; what is sent still goes out.
func (s *Server) StopReading() { s.listener.StopReading() }

// Close ends all connections, saying so to the peers, and returns when that is done.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
	return s.listener.Close()
}

// Send has datagram go over the connection that to is. It never blocks, and keeps nothing of datagram.
func (s *Server) Send(to exchange.Endpoint, datagram []byte) {
	s.mu.Lock()
	one := s.byNumber[to.Session]
	s.mu.Unlock()
	if one == nil || !one.send(datagram) {
		s.Counts.Unsent()
	}
}

// Holder returns the credentials of whom the connection proved to be; false: it is nobody's.
func (s *Server) Holder(e exchange.Endpoint) (transport.Credentials, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.byNumber[e.Session]
	if one == nil {
		return transport.Credentials{}, false
	}
	return one.holder, one.holder != (transport.Credentials{})
}

// newCID returns an id that one is found by from now on.
func (s *Server) newCID(one *session) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var id connectionID
		rand.Read(id[:])
		if s.byCID[id] == nil {
			delete(s.byCID, one.cid)
			one.cid = id
			s.byCID[id] = one
			return id[:]
		}
	}
}

// sweep ends idle connections until ctx ends.
func (s *Server) sweep(ctx context.Context) {
	ticker := time.NewTicker(min(time.Minute, s.Idle))
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			s.mu.Lock()
			for one := s.used.First(); one != nil && now.Sub(one.at) >= s.Idle; one = s.used.First() {
				s.drop(one)
			}
			s.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}
