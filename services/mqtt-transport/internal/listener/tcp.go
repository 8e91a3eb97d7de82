package listener

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
)

// serveEach accepts connections until ctx ends, and gives each a goroutine that sleeps in its read.
func (s *Server) serveEach(ctx context.Context, l net.Listener, e Entry) error {
	forget := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer forget()
	for {
		socket, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			s.unaccepted(ctx, err)
			continue
		}
		var over link = &tcpLink{server: s, socket: socket}
		if e.TLS != nil {
			over = newTLSLink(s, socket, e.TLS)
		}
		c, err := s.open(over, e.fronted(socket.RemoteAddr()))
		if err != nil {
			_ = socket.Close() // nothing was said on it
			continue
		}
		go c.drive(session.More)
	}
}

// acceptPause is how long nothing is accepted after accepting failed, as it does when file
// descriptors run out.
const acceptPause = 100 * time.Millisecond

func (s *Server) unaccepted(ctx context.Context, err error) {
	s.metrics.unaccepted.Inc()
	s.log.Warn("connection could not be accepted", slog.Any("err", err), slog.Duration("pause", acceptPause))
	select {
	case <-time.After(acceptPause):
	case <-ctx.Done():
	}
}

// tcpLink is a TCP connection whose reader blocks.
type tcpLink struct {
	server  *Server
	socket  net.Conn
	aborted atomic.Bool
}

func (t *tcpLink) receive(c *conn) (v session.Verdict, mine bool) {
	for {
		n, err := t.socket.Read(c.intake.room(&c.server.blocks))
		if err != nil {
			c.intake.unread(&c.server.blocks)
			return session.Close, true
		}
		if v := c.received(n); v != session.More {
			return v, true
		}
	}
}

// tryWrite leaves the writing to a goroutine that may wait.
func (t *tcpLink) tryWrite([]byte) (int, error) { return 0, nil }

func (t *tcpLink) write(b []byte) error { return t.writeTo(t.socket, b) }

// writeTo writes to the socket, through what may be over it.
func (t *tcpLink) writeTo(stream io.Writer, b []byte) error {
	if err := t.socket.SetWriteDeadline(time.Now().Add(t.server.options.WriteTimeout)); err != nil {
		return err
	}
	if t.aborted.Load() {
		return net.ErrClosed
	}
	_, err := stream.Write(b)
	return err
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// A deadline can be set on every socket but a closed one, which needs no interrupting.
func (t *tcpLink) interrupt() { _ = t.socket.SetReadDeadline(past) }

func (t *tcpLink) abort() {
	t.aborted.Store(true)
	_ = t.socket.SetDeadline(past)
}

func (t *tcpLink) close() {
	if half, ok := t.socket.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		linger(t.socket)
	}
	_ = t.socket.Close() // nothing is left to be told
}

func (t *tcpLink) peer() netip.AddrPort {
	if tcp, ok := t.socket.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}

// Bounds of the wait for a client to close its side.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// linger waits a moment for the client to close its side after we closed ours: closing while there
// are bytes nobody read would reset the connection, and the client might not see the last packet.
func linger(socket interface {
	io.Reader
	SetReadDeadline(time.Time) error
},
) {
	if socket.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, socket, lingerBytes) // however it ends, the socket is closed next
	}
}

var (
	_ link    = (*tcpLink)(nil)
	_ located = (*tcpLink)(nil)
)
