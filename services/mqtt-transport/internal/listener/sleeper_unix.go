//go:build unix

package listener

import (
	"io"
	"net"
	"syscall"
)

// sleeper is the socket under a TLS connection. Once impatient, it does not wait in Read: who reads
// gives its buffer back and waits here, so that a connection that sleeps holds none.
type sleeper struct {
	net.Conn
	ahead     []byte // read already
	impatient bool

	raw       syscall.RawConn
	read, see func(fd uintptr) bool // bound once
	into      []byte
	n         int
	err       error
	one       [1]byte
}

func newSleeper(socket net.Conn) *sleeper {
	s := &sleeper{Conn: socket}
	if c, ok := socket.(syscall.Conn); ok {
		s.raw, _ = c.SyscallConn() // a socket that has none is waited for in Read
	}
	s.read, s.see = s.tryRead, s.readable
	return s
}

func (s *sleeper) Read(b []byte) (int, error) {
	switch {
	case len(s.ahead) > 0:
		n := copy(b, s.ahead)
		if s.ahead = s.ahead[n:]; len(s.ahead) == 0 {
			s.ahead = nil
		}
		return n, nil
	case !s.impatient || s.raw == nil:
		return s.Conn.Read(b)
	}
	s.into = b
	err := s.raw.Read(s.read)
	s.into = nil
	if err != nil {
		return 0, err
	}
	return s.n, s.err
}

func (s *sleeper) tryRead(fd uintptr) bool {
	n, err := syscall.Read(int(fd), s.into)
	switch {
	case err == syscall.EAGAIN, err == syscall.EINTR: // the system call's own number, never wrapped
		s.n, s.err = 0, errAsleep
	case err != nil:
		s.n, s.err = 0, err
	case n == 0:
		s.n, s.err = 0, io.EOF
	default:
		s.n, s.err = n, nil
	}
	return true
}

// wait waits until there is something to be read, if only the end; its error is that of a
// connection that is interrupted.
func (s *sleeper) wait() error { return s.raw.Read(s.see) }

func (s *sleeper) readable(fd uintptr) bool {
	_, _, err := syscall.Recvfrom(int(fd), s.one[:], syscall.MSG_PEEK)
	return err != syscall.EAGAIN && err != syscall.EINTR // as above
}
