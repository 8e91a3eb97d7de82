package listener

import (
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// tcpLink is a TCP connection.
type tcpLink struct {
	server  *Server
	socket  *net.TCPConn
	raw     syscall.RawConn
	aborted atomic.Bool
}

func (s *Server) openTCP(socket net.Conn) (*conn, error) {
	tcp, ok := socket.(*net.TCPConn)
	if !ok {
		return nil, errRefused
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	return s.open(&tcpLink{server: s, socket: tcp, raw: raw})
}

func (t *tcpLink) write(b []byte) error {
	if err := t.socket.SetWriteDeadline(time.Now().Add(t.server.options.WriteTimeout)); err != nil {
		return err
	}
	if t.aborted.Load() {
		return net.ErrClosed
	}
	_, err := t.socket.Write(b)
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

// Bounds of the wait for a client to close its side.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// close closes our side first and waits a moment for the client's: closing while there are bytes
// nobody read would reset the connection, and the client would not see the last packet.
func (t *tcpLink) close() {
	if t.socket.CloseWrite() == nil && t.socket.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, t.socket, lingerBytes) // however it ends, the socket is closed
	}
	_ = t.socket.Close() // nothing is left to be told
}

var _ link = (*tcpLink)(nil)
