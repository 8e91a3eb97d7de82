// Package listener moves the bytes of MQTT sessions. TCP connections are read by a few goroutines
// that poll many each (Linux), or one each that sleeps in the read; those under TLS and WebSocket
// connections by one each. A few goroutines write acknowledgements for all.
package listener

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
)

// Options are a Server's bounds.
type Options struct {
	Connections, Refusals      int
	WriteTimeout, DrainTimeout time.Duration
	DrainRate                  int // connections a second
}

// Server serves connections, wherever they come from. Make one with New, Start it, then Serve
// listeners and HTTP requests; Drain ends all.
type Server struct {
	options  Options
	hub      *session.Hub
	metrics  *Metrics
	log      *slog.Logger
	blocks   blocks
	flushers []*flusher
	pollers  []*poller // none where there is no epoll

	// working ends when what sessions wait for is not waited for any longer.
	working     context.Context
	stopWorking context.CancelFunc
	stopped     chan struct{}  // closed when sweeper and flushers are to end
	running     sync.WaitGroup // connections, and what writes for them
	serving     sync.WaitGroup // sweeper and flushers

	mu       sync.Mutex
	draining bool
	conns    []*conn
	crowding int           // those of conns that are there to be turned away
	empty    chan struct{} // closed when draining and no connection is left
}

// New returns a Server of sessions of h.
func New(o Options, h *session.Hub, m *Metrics, log *slog.Logger) *Server {
	s := &Server{
		options: o, hub: h, metrics: m, log: log,
		stopped: make(chan struct{}), empty: make(chan struct{}),
	}
	s.working, s.stopWorking = context.WithCancel(context.Background())
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		s.flushers = append(s.flushers, newFlusher())
	}
	return s
}

// Start starts what serves all connections. Drain ends it.
func (s *Server) Start() error {
	var err error
	if s.pollers, err = newPollers(s); err != nil {
		return err
	}
	for _, p := range s.pollers {
		s.serving.Go(p.run)
	}
	for _, f := range s.flushers {
		s.serving.Go(func() { f.run(s.stopped) })
	}
	s.serving.Go(s.sweep)
	return nil
}

// Serve accepts connections until ctx ends; then l is closed.
func (s *Server) Serve(ctx context.Context, l net.Listener, e Entry) error {
	if tcp, ok := l.(*net.TCPListener); ok && len(s.pollers) > 0 && e.TLS == nil {
		return s.serveTCP(ctx, tcp, e)
	}
	return s.serveEach(ctx, l, e)
}

// errRefused: there are as many connections as allowed, or the server is stopping.
var errRefused = errors.New("no more connections")

// open adds a connection that runs over l, and may begin with a PROXY header when it is fronted. Its
// end must be waited for: conn.end.
func (s *Server) open(l link, fronted bool) (*conn, error) {
	c := &conn{server: s, link: l, fronted: fronted}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.crowding = len(s.conns)-s.crowding >= s.options.Connections
	if s.draining || c.crowding && s.crowding >= s.options.Refusals {
		s.metrics.refused.Inc()
		return nil, errRefused
	}
	c.index = int32(len(s.conns))
	c.writer = s.flushers[len(s.conns)%len(s.flushers)]
	c.Init(s.hub, c)
	if c.crowding {
		s.metrics.refused.Inc()
		s.crowding++
		c.TurnAway()
	}
	s.conns = append(s.conns, c)
	s.running.Add(1)
	s.metrics.connections.Inc()
	return c, nil
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.conns[len(s.conns)-1]
	s.conns[c.index] = last
	last.index = c.index
	s.conns[len(s.conns)-1] = nil
	s.conns = s.conns[:len(s.conns)-1]
	if c.crowding {
		s.crowding--
	}
	s.metrics.connections.Dec()
	if s.draining && len(s.conns) == 0 {
		close(s.empty)
	}
}

// each calls do for every connection.
func (s *Server) each(do func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		do(c)
	}
}

// sweep lets time pass for sessions and closes those whose client fell silent. There is one timer
// for all of them.
func (s *Server) sweep() {
	ticker := time.NewTicker(session.Tick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.hub.Advance()
			s.each(func(c *conn) { c.Expire() })
		case <-s.stopped:
			return
		}
	}
}

// Drain takes no connection on any more and lets all go, some at a time; of each it waits until
// what is in flight has been answered, for at most the drain timeout over all, and closes it. Call
// it when no Serve runs any more.
func (s *Server) Drain() {
	s.mu.Lock()
	s.draining = true
	if len(s.conns) == 0 {
		close(s.empty)
	}
	s.mu.Unlock()
	timeout := time.NewTimer(s.options.DrainTimeout)
	defer timeout.Stop()
	s.letGo()
	select {
	case <-s.empty:
	case <-timeout.C:
	}
	s.stopWorking()
	s.each(func(c *conn) {
		c.Break(session.CauseDrain)
		c.link.abort()
	})
	s.running.Wait()
	s.hub.Stop()
	close(s.stopped)
	for _, p := range s.pollers {
		p.stop()
	}
	s.serving.Wait()
}
