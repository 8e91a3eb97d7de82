// Package websocket pushes values to people as they are saved: /api/ws and the older
// /api/ws/plugins/telemetry of rest-api §4. A session is one socket of somebody who logged in;
// a subscription follows one entity. Whoever saves is never held up: what a client has not
// read yet waits within bounds, is merged into the newest values, and in the end the client is closed.
package websocket

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Deps is what sessions work with. All are required but Now.
type Deps struct {
	Accounts *auth.Accounts
	Guard    *auth.Guard
	Values   storage.Telemetry
	History  *history.Reader
	Live     live.Subscriber
	Settings Settings
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Now      func() time.Time
}

// Server is the sessions of one node. Safe for concurrent use.
type Server struct {
	Deps
	metrics *metrics

	mu       sync.Mutex
	sessions map[*session]struct{}
	owners   map[string]int // sessions by tenant, customer and user
	closed   bool
	running  sync.WaitGroup
}

// The paths of rest-api §4.1.
const (
	generalPath = "/api/ws"
	legacyPath  = "/api/ws/plugins/telemetry"
)

// New returns a Server without sessions.
func New(d Deps) *Server {
	if d.Now == nil {
		d.Now = time.Now
	}
	return &Server{Deps: d, metrics: newMetrics(d.Metrics), sessions: map[*session]struct{}{}, owners: map[string]int{}}
}

// Run ends all sessions when ctx ends, and returns when they are gone.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.closed = true
	for one := range s.sessions {
		one.end(websocket.StatusGoingAway, "server is shutting down")
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// ServeHTTP runs one session; it returns when the session is over.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	one := newSession(s, strings.TrimSuffix(r.URL.Path, "/"))
	if !s.admit(one) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many sessions", http.StatusServiceUnavailable)
		return
	}
	defer s.leave(one)
	// Every origin may connect: the token says who it is, and no cookie does (rest-api §4.1).
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		s.Log.Debug("accept websocket", "err", err)
		return
	}
	conn.SetReadLimit(s.Settings.MaxFrame)
	one.conn = conn
	one.run(context.WithoutCancel(r.Context()), r)
}

// admit counts a session in, unless there are too many or the server is stopping.
func (s *Server) admit(one *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.sessions) >= s.Settings.MaxSessions {
		return false
	}
	s.sessions[one] = struct{}{}
	s.running.Add(1)
	s.metrics.sessions.Inc()
	return true
}

func (s *Server) leave(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, one)
	for _, owner := range one.owners {
		if s.owners[owner]--; s.owners[owner] == 0 {
			delete(s.owners, owner)
		}
	}
	s.metrics.sessions.Dec()
	s.running.Done()
}

// own counts a session for whom it turned out to be of; false when that is one too many.
func (s *Server) own(one *session, p auth.Principal) bool {
	limits := map[string]int{"tenant " + p.Tenant.String(): s.Settings.TenantSessions}
	if p.Is(entity.CustomerUser) {
		limits["customer "+p.Customer.String()] = s.Settings.CustomerSessions
		limits["user "+p.User.String()] = s.Settings.UserSessions
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for owner, limit := range limits {
		if limit > 0 && s.owners[owner] >= limit {
			return false
		}
	}
	for owner := range limits {
		s.owners[owner]++
		one.owners = append(one.owners, owner)
	}
	return true
}
