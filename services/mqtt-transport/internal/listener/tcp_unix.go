//go:build unix

package listener

import (
	"syscall"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
)

// receive sleeps until the socket is readable and borrows a block only then.
func (t *tcpLink) receive(c *conn) session.Verdict {
	v := session.Close
	err := t.raw.Read(func(fd uintptr) bool {
		for {
			n, err := readInto(int(fd), c)
			switch {
			case n > 0:
				if v = c.received(n); v != session.More {
					return true
				}
			case err == syscall.EAGAIN: //nolint:errorlint // the system call's own number, never wrapped
				return false
			default:
				v = session.Close
				return true
			}
		}
	})
	if err != nil {
		return session.Close
	}
	return v
}

// readInto reads what there is into c's intake.
func readInto(fd int, c *conn) (n int, err error) {
	for {
		n, err = syscall.Read(fd, c.intake.room(&c.server.blocks))
		if n > 0 {
			return n, nil
		}
		c.intake.unread(&c.server.blocks)
		if err != syscall.EINTR { //nolint:errorlint // as above
			return 0, err
		}
	}
}

// attempt is a write that does not wait. It is reused, so that none allocates.
type attempt struct {
	bytes []byte
	n     int
	err   error
	write func(fd uintptr) bool // a.once, bound once
}

func newAttempt() any {
	a := new(attempt)
	a.write = a.once
	return a
}

// once writes what can be written now. It never asks to be called again when there is room.
func (a *attempt) once(fd uintptr) bool {
	for a.n < len(a.bytes) {
		n, err := syscall.Write(int(fd), a.bytes[a.n:])
		switch {
		case n > 0:
			a.n += n
		case err == syscall.EINTR: //nolint:errorlint // the system call's own number, never wrapped
		case err == syscall.EAGAIN: //nolint:errorlint // as above
			return true
		default:
			a.err = err
			return true
		}
	}
	return true
}

func (t *tcpLink) tryWrite(b []byte) (int, error) {
	a := t.server.attempts.Get().(*attempt)
	defer t.server.attempts.Put(a)
	a.bytes, a.n, a.err = b, 0, nil
	err := t.raw.Write(a.write)
	a.bytes = nil
	if err == nil {
		err = a.err
	}
	return a.n, err
}
