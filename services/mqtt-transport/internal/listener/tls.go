package listener

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/proxy"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
)

// tlsLink is a connection under TLS. Its handshake is part of the time a connection has until
// CONNACK. Who the client's certificate says it is can be asked of secured once it is greeted.
type tlsLink struct {
	tcpLink
	stream  *sleeper
	secured *tls.Conn
	greeted bool
}

func newTLSLink(s *Server, socket net.Conn, config *tls.Config) *tlsLink {
	l := &tlsLink{tcpLink: tcpLink{server: s, socket: socket}, stream: newSleeper(socket)}
	l.secured = tls.Server(l.stream, config)
	return l
}

func (l *tlsLink) receive(c *conn) (v session.Verdict, mine bool) {
	if !l.greeted {
		if err := l.greet(c); err != nil {
			l.server.metrics.handshakes.WithLabelValues("failed").Inc()
			l.server.log.Debug("TLS handshake failed", slog.String("remote", c.remote()), slog.Any("err", err))
			return session.Close, true
		}
		l.server.metrics.handshakes.WithLabelValues("completed").Inc()
		l.greeted, l.stream.impatient = true, true
		go c.drive(session.More) // with a stack that no handshake has grown; ends with c.end, which Server.running counts
		return session.More, false
	}
	for {
		n, err := l.secured.Read(c.intake.room(&c.server.blocks))
		if n == 0 {
			c.intake.unread(&c.server.blocks)
			if errors.Is(err, errAsleep) {
				err = l.stream.wait()
			}
			if err != nil {
				return session.Close, true
			}
			continue
		}
		if v := c.received(n); v != session.More {
			return v, true
		}
	}
}

// greet takes off the PROXY header of a trusted peer and shakes hands.
func (l *tlsLink) greet(c *conn) error {
	if c.fronted {
		if err := l.unwrap(c); err != nil {
			return err
		}
	}
	if err := l.socket.SetWriteDeadline(time.Now().Add(l.server.options.WriteTimeout)); err != nil {
		return err
	}
	if l.aborted.Load() {
		return net.ErrClosed
	}
	return l.secured.Handshake()
}

var errProxyHeader = errors.New("PROXY header refused")

// unwrap reads until it is clear whether there is a PROXY header; what was read beyond it is for the handshake.
func (l *tlsLink) unwrap(c *conn) error {
	b := make([]byte, 0, proxy.MaxBytes)
	for {
		n, err := l.socket.Read(b[len(b):cap(b)])
		if err != nil {
			return err
		}
		b = b[:len(b)+n]
		size, v := c.unwrap(b)
		if v != session.More {
			return errProxyHeader
		}
		if !c.fronted {
			l.stream.ahead = b[size:]
			return nil
		}
	}
}

func (l *tlsLink) write(b []byte) error { return l.writeTo(l.secured, b) }

// close says the end to TLS before it ends the stream: else the client cannot tell it from an attack.
func (l *tlsLink) close() {
	if l.greeted && !l.aborted.Load() {
		_ = l.secured.CloseWrite() // the stream ends next, whether or not this was said
	}
	l.tcpLink.close()
}

var (
	_ link    = (*tlsLink)(nil)
	_ located = (*tlsLink)(nil)
)
