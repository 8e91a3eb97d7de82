package websocket

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
)

// statusNoPong closes a client that answers no pings (rest-api §4.1).
const statusNoPong = websocket.StatusCode(4500)

// session is one client. Its reader runs the commands, its writer empties the outbox and closes
// the socket, a third goroutine pings.
type session struct {
	server *Server
	path   string
	legacy bool // speaks the frames of rest-api §4.3
	conn   *websocket.Conn
	out    *outbox
	owners []string // as counted by the server

	principal     auth.Principal
	subscriptions map[int64]*subscription
	busy          atomic.Bool // a command runs: pongs are not read meanwhile

	limiter *rate.Limiter // of updates; nil: none
	limited atomic.Bool   // told that updates are dropped

	ending sync.Once
	ended  chan struct{}
	code   websocket.StatusCode // why, once ended is closed
	reason string
}

func newSession(s *Server, path string) *session {
	one := &session{server: s, path: path, legacy: path == legacyPath, out: newOutbox(&s.Settings), subscriptions: map[int64]*subscription{}, ended: make(chan struct{})}
	if n := s.Settings.UpdatesPerSecond; n > 0 {
		one.limiter = rate.NewLimiter(rate.Limit(n), n)
	}
	return one
}

// end makes the session stop; the first code counts. It does not wait.
func (s *session) end(code websocket.StatusCode, reason string) {
	s.ending.Do(func() {
		s.code, s.reason = code, reason
		close(s.ended)
	})
}

// overflow implements sender.
func (s *session) overflow(reason string) { s.end(websocket.StatusPolicyViolation, reason) }

// send implements sender.
func (s *session) send(u *update) {
	if !u.answer && s.limiter != nil && !s.limiter.Allow() {
		s.server.metrics.limited.Inc()
		if !s.limited.Swap(true) {
			s.put(item{ready: errorFrame(u.subscription, codeTooMany, "Too many updates!")})
		}
		return
	}
	s.limited.Store(false)
	s.put(item{update: u})
}

func (s *session) put(i item) {
	merged, fits := s.out.put(i)
	if merged {
		s.server.metrics.merged.Inc()
	}
	if !fits {
		s.overflow("too many pending messages")
	}
}

// run serves the client until either side ends the session.
func (s *session) run(ctx context.Context, r *http.Request) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var others sync.WaitGroup
	others.Go(func() { s.write(ctx) })
	others.Go(func() { s.ping(ctx) })
	s.read(ctx, r)
	s.end(websocket.StatusNormalClosure, "")
	for id := range s.subscriptions {
		s.unsubscribe(id)
	}
	others.Wait()
}

// read takes frames until the socket is closed.
func (s *session) read(ctx context.Context, r *http.Request) {
	if !s.enter(ctx, r.URL.Query().Get("token")) {
		s.discard(ctx)
		return
	}
	for {
		_, data, err := s.conn.Read(ctx)
		if err != nil {
			return
		}
		s.busy.Store(true)
		proceed := s.handle(ctx, data)
		s.busy.Store(false)
		if !proceed {
			s.discard(ctx)
			return
		}
	}
}

// discard reads on without looking, so that the writer's close is answered.
func (s *session) discard(ctx context.Context) {
	for {
		if _, _, err := s.conn.Read(ctx); err != nil {
			return
		}
	}
}

// enter logs in by the token of the URL, or gives the client some time to do it by a command.
func (s *session) enter(ctx context.Context, token string) bool {
	if s.path != generalPath && !s.legacy {
		s.end(websocket.StatusInvalidFramePayloadData, "unknown plugin")
		return false
	}
	if token != "" || s.legacy {
		return s.logIn(ctx, token, websocket.StatusInternalError)
	}
	timer := time.AfterFunc(s.server.Settings.AuthTimeout, func() {
		s.end(websocket.StatusPolicyViolation, "no authentication command received in time")
	})
	defer timer.Stop()
	_, data, err := s.conn.Read(ctx)
	if err != nil {
		return false
	}
	f, err := parseFrame(data, false)
	switch {
	case err != nil:
		s.end(websocket.StatusInvalidFramePayloadData, "cannot parse the frame")
		return false
	case f.login == nil:
		s.end(websocket.StatusPolicyViolation, "authentication command is expected first")
		return false
	case !s.logIn(ctx, f.login.Token, websocket.StatusInvalidFramePayloadData):
		return false
	}
	timer.Stop()
	return s.handleCommands(ctx, f.commands)
}

// logIn takes over whom a token names, or ends the session with refused.
func (s *session) logIn(ctx context.Context, token string, refused websocket.StatusCode) bool {
	ctx, cancel := context.WithTimeout(ctx, s.server.Settings.CommandTimeout)
	defer cancel()
	p, err := s.server.Accounts.Authenticate(ctx, token)
	if err != nil {
		s.server.Log.Debug("log in to websocket", "err", err)
		s.end(refused, "authentication failed")
		return false
	}
	if !s.server.own(s, p) {
		s.end(websocket.StatusPolicyViolation, "too many sessions")
		return false
	}
	s.principal = p
	return true
}

// handle runs the commands of one frame; false ends the session.
func (s *session) handle(ctx context.Context, data []byte) bool {
	f, err := parseFrame(data, s.legacy)
	if err != nil {
		// What does not parse names no subscription; 1 is what clients are used to (rest-api §4.1).
		s.put(item{ready: errorFrame(1, codeBad, "Failed to parse the command")})
		return true
	}
	return s.handleCommands(ctx, f.commands)
}

// write empties the outbox, and closes the socket when the session has ended.
func (s *session) write(ctx context.Context) {
	var buffer []byte
	for {
		select {
		case <-s.ended:
			s.close()
			return
		case <-s.out.wake:
		}
		for {
			next, ok := s.out.take()
			if !ok || s.isEnded() {
				break
			}
			data := next.ready
			if next.update != nil {
				buffer = next.update.appendTo(buffer[:0])
				data = buffer
			}
			if !s.writeFrame(ctx, data) {
				break
			}
			if cap(buffer) > maxKeptBuffer {
				buffer = nil
			}
		}
	}
}

// maxKeptBuffer is how large a buffer a session keeps for its next frame.
const maxKeptBuffer = 16 << 10

func (s *session) writeFrame(ctx context.Context, data []byte) bool {
	ctx, cancel := context.WithTimeout(ctx, s.server.Settings.WriteTimeout)
	defer cancel()
	start := time.Now()
	err := s.conn.Write(ctx, websocket.MessageText, data)
	switch {
	case err != nil:
		s.end(websocket.StatusNormalClosure, "")
		return false
	case time.Since(start) > s.server.Settings.SlowAfter:
		s.overflow("client is too slow")
		return false
	}
	s.server.metrics.frames.Inc()
	return true
}

func (s *session) isEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// close says why, and gives the client a moment to answer; the reader ends with it.
func (s *session) close() {
	s.out.close()
	if s.code != websocket.StatusNormalClosure {
		s.server.metrics.closed.WithLabelValues(strconv.Itoa(int(s.code))).Inc()
	}
	if err := s.conn.Close(s.code, s.reason); err != nil {
		s.server.Log.Debug("close websocket", "err", err)
	}
}

// ping finds out whether the client is still there.
func (s *session) ping(ctx context.Context) {
	const perTimeout = 3
	every := s.server.Settings.PingTimeout / perTimeout
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
		}
		if err := s.pong(ctx, (perTimeout-1)*every); errors.Is(err, context.DeadlineExceeded) && !s.busy.Load() {
			s.end(statusNoPong, "no pong received in time")
			return
		}
	}
}

// pong waits for the answer to one ping, or for the session's end.
func (s *session) pong(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-s.ended:
			cancel()
		case <-stop:
		}
	})
	defer watch.Wait()
	defer close(stop)
	return s.conn.Ping(ctx)
}
