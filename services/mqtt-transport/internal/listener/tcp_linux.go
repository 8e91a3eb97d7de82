package listener

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
)

// serveTCP accepts connections until ctx ends, and shares them out to the pollers.
func (s *Server) serveTCP(ctx context.Context, l *net.TCPListener, e Entry) error {
	// The runtime lends out a listener's descriptor for no waiting, but that of a file.
	f, err := l.File()
	if err != nil && ctx.Err() != nil {
		return nil // stopped, and l closed, before it began
	}
	if err != nil {
		return fmt.Errorf("accept connections: %w", err)
	}
	defer f.Close()
	_ = l.Close() // f is the same socket
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("accept connections: %w", err)
	}
	forget := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(past) })
	defer forget()
	next := 0
	err = raw.Read(func(listening uintptr) bool {
		for ctx.Err() == nil {
			fd, from, err := syscall.Accept4(int(listening), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
			switch err { // the system call's own number, never wrapped
			case nil:
				next++
				s.take(fd, s.pollers[next%len(s.pollers)], e.frontedBy(from))
			case syscall.EAGAIN:
				return false
			case syscall.EINTR, syscall.ECONNABORTED:
			default:
				s.unaccepted(ctx, err)
			}
		}
		return true
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("accept connections: %w", err)
}

// take serves a connection just accepted.
func (s *Server) take(fd int, p *poller, fronted bool) {
	l := &polledLink{poller: p, fd: fd}
	// Acknowledgements are not held back to be sent together with more: they are together already.
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	c, err := s.open(l, fronted)
	if err != nil {
		_ = syscall.Close(fd) // nothing was said on it
		return
	}
	l.conn = c
	if !p.arm(c, l) {
		go c.drive(session.Close) // ends with c.end, which Server.running counts
	}
}

// polledLink is a TCP connection that a poller reads. Its file descriptor is read by whoever has
// the connection, written between Session.Take and Session.Wrote, and closed when neither can
// happen any more: so it needs no counting of its users.
type polledLink struct {
	poller *poller
	conn   *conn
	fd     int
	gone   bool // the client has closed, or the connection broke

	mu                 sync.Mutex
	armed, interrupted bool
	aborted            atomic.Bool
	slow               atomic.Pointer[os.File] // while the client is waited for
}

func (l *polledLink) receive(c *conn) (v session.Verdict, mine bool) {
	if l.poller.arm(c, l) {
		return session.More, false
	}
	return session.Close, true
}

func (l *polledLink) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.interrupted && l.armed {
		l.poller.leave(l.conn)
	}
	l.interrupted = true
}

func (l *polledLink) tryWrite(b []byte) (n int, err error) {
	for n < len(b) {
		wrote, err := syscall.Write(l.fd, b[n:])
		switch {
		case wrote > 0:
			n += wrote
		case err == syscall.EINTR: // the system call's own number, never wrapped
		case err == syscall.EAGAIN: // as above
			return n, nil
		default:
			return n, err
		}
	}
	return n, nil
}

// write waits through the runtime's poller, with a descriptor made for the purpose.
func (l *polledLink) write(b []byte) error {
	n, err := l.tryWrite(b)
	if err != nil || n == len(b) {
		return err
	}
	fd, err := syscall.Dup(l.fd)
	if err != nil {
		return fmt.Errorf("wait for the client: %w", err)
	}
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "mqtt")
	defer f.Close()
	l.slow.Store(f)
	defer l.slow.Store(nil)
	if err := f.SetWriteDeadline(time.Now().Add(l.poller.server.options.WriteTimeout)); err != nil {
		return err
	}
	if l.aborted.Load() {
		return net.ErrClosed
	}
	_, err = f.Write(b[n:])
	return err
}

func (l *polledLink) abort() {
	l.aborted.Store(true)
	if f := l.slow.Load(); f != nil {
		_ = f.SetDeadline(past)
	}
	l.interrupt()
}

func (l *polledLink) close() {
	if l.gone || syscall.Shutdown(l.fd, syscall.SHUT_WR) != nil {
		_ = syscall.Close(l.fd) // nobody is there to be told
		return
	}
	f := os.NewFile(uintptr(l.fd), "mqtt")
	linger(f)
	_ = f.Close()
}

func (l *polledLink) peer() netip.AddrPort {
	address, err := syscall.Getpeername(l.fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addressOf(address)
}

// frontedBy is fronted for an address as the system has it.
func (e *Entry) frontedBy(peer syscall.Sockaddr) bool {
	return len(e.Trusted) > 0 && e.Trusted.Contains(addressOf(peer).Addr())
}

func addressOf(a syscall.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

var (
	_ link    = (*polledLink)(nil)
	_ located = (*polledLink)(nil)
)
