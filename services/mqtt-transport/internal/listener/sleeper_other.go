//go:build !unix

package listener

import "net"

// sleeper is the socket under a TLS connection. Here who reads waits in Read, holding its buffer.
type sleeper struct {
	net.Conn
	ahead     []byte // read already
	impatient bool
}

func newSleeper(socket net.Conn) *sleeper { return &sleeper{Conn: socket} }

func (s *sleeper) Read(b []byte) (int, error) {
	if len(s.ahead) == 0 {
		return s.Conn.Read(b)
	}
	n := copy(b, s.ahead)
	if s.ahead = s.ahead[n:]; len(s.ahead) == 0 {
		s.ahead = nil
	}
	return n, nil
}

func (s *sleeper) wait() error { return nil }
