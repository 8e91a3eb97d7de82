package listener

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/proxy"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
)

// Entry is how the connections of one listener begin.
type Entry struct {
	// Trusted are the peers that may begin with a PROXY header; they need not, so that a balancer's
	// health checks may do without. From anybody else a header is no MQTT and no TLS, so it ends
	// the connection.
	Trusted proxy.Trusted
	// TLS is how to serve it; nil for plain TCP.
	TLS *tls.Config
}

// fronted reports whether a connection from peer may begin with a PROXY header.
func (e *Entry) fronted(peer net.Addr) bool {
	if len(e.Trusted) == 0 {
		return false
	}
	tcp, ok := peer.(*net.TCPAddr)
	return ok && e.Trusted.Contains(tcp.AddrPort().Addr())
}

// feed gives the session what was read, once the PROXY header is off that may come before.
func (c *conn) feed(b []byte) (int, session.Verdict) {
	if !c.fronted {
		return c.Feed(c.server.working, b)
	}
	size, v := c.unwrap(b)
	if c.fronted || v != session.More {
		return 0, v
	}
	n, v := c.Feed(c.server.working, b[size:])
	return size + n, v
}

// unwrap takes off the PROXY header that b begins with; c is fronted until that is done.
func (c *conn) unwrap(b []byte) (size int, v session.Verdict) {
	source, size, err := proxy.Parse(b)
	switch {
	case err == proxy.ErrShort:
		return 0, session.More
	case err != nil:
		c.server.metrics.headers.WithLabelValues("refused").Inc()
		c.server.log.Debug("PROXY header refused", slog.String("remote", c.remote()), slog.Any("err", err))
		c.Break(session.CauseProtocol)
		return 0, session.Close
	case size > 0:
		c.server.metrics.headers.WithLabelValues("taken").Inc()
	}
	if source.IsValid() {
		c.source = &source
	}
	c.fronted = false
	return size, session.More
}

// located is a link that knows the other end of its stream.
type located interface {
	// peer is not valid once the stream is closed.
	peer() netip.AddrPort
}

// Peer implements session.Wire.
func (c *conn) Peer() (p session.Peer) {
	if c.source != nil {
		p.Address = c.source.Addr()
	} else if l, ok := c.link.(located); ok {
		p.Address = l.peer().Addr()
	}
	if l, ok := c.link.(*tlsLink); ok {
		p.Certificates = l.secured.ConnectionState().PeerCertificates
	}
	return p
}

// remote is the client's address, for logs: what a trusted balancer said it is, or the other end
// of the connection. It is looked up, so that connections need not hold it.
func (c *conn) remote() string {
	if c.source != nil {
		return c.source.String()
	}
	if l, ok := c.link.(located); ok {
		return l.peer().String()
	}
	return ""
}
