package listener

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"github.com/coder/websocket"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
)

// subprotocol is what a client must offer (MQTT 5 §6).
const subprotocol = "mqtt"

// ServeHTTP serves MQTT over WebSocket until the connection is over. Credentials are in CONNECT,
// never in a cookie, so pages of any origin may connect.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{subprotocol}, OriginPatterns: []string{"*"}, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil { // answered already
		s.log.Debug("WebSocket could not be accepted", slog.Any("err", err))
		return
	}
	if socket.Subprotocol() != subprotocol {
		_ = socket.Close(websocket.StatusPolicyViolation, "offer subprotocol mqtt")
		return
	}
	socket.SetReadLimit(-1) // a message is read piece by piece, and a packet's size is bounded
	l := &webSocketLink{server: s, socket: socket}
	c, err := s.open(l, false)
	if err != nil {
		_ = socket.Close(websocket.StatusTryAgainLater, "too many connections")
		return
	}
	l.conn = c
	c.drive(session.More)
}

// webSocketLink is a WebSocket connection. MQTT packets need not be aligned with its messages.
type webSocketLink struct {
	server *Server
	conn   *conn
	socket *websocket.Conn
	once   sync.Once
	// message is the one being read.
	message io.Reader
}

func (l *webSocketLink) receive(c *conn) (v session.Verdict, mine bool) {
	for {
		if l.message == nil {
			kind, message, err := l.socket.Reader(context.Background())
			if err != nil || kind != websocket.MessageBinary { // MQTT-6.0.0-1
				return session.Close, true
			}
			l.message = message
		}
		n, err := l.message.Read(c.intake.room(&c.server.blocks))
		if err != nil {
			l.message = nil // at its end, or failed: then Reader fails too
		}
		if n == 0 {
			c.intake.unread(&c.server.blocks)
			continue
		}
		if v := c.received(n); v != session.More {
			return v, true
		}
	}
}

// tryWrite leaves the writing to a goroutine that may wait.
func (l *webSocketLink) tryWrite([]byte) (int, error) { return 0, nil }

func (l *webSocketLink) write(b []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.server.options.WriteTimeout)
	defer cancel()
	return l.socket.Write(ctx, websocket.MessageBinary, b)
}

// interrupt ends the stream from the side: the library's read ends only when the connection does,
// and by then the last packet must have been written.
func (l *webSocketLink) interrupt() {
	l.server.running.Go(func() {
		if o := l.conn.Take(false); o != nil {
			l.conn.writeOn(o, 0)
		}
		if !l.conn.Writing() {
			l.close()
		}
	})
}

func (l *webSocketLink) abort() { _ = l.socket.CloseNow() }

func (l *webSocketLink) close() {
	l.once.Do(func() { _ = l.socket.Close(websocket.StatusNormalClosure, "") }) // nothing is left to be told
}

var _ link = (*webSocketLink)(nil)
