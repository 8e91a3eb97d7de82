//go:build !unix

package listener

import "github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"

// receive reads with a block in hand: there is no way here to wait for a socket without one.
func (t *tcpLink) receive(c *conn) session.Verdict {
	for {
		n, err := t.socket.Read(c.intake.room(&c.server.blocks))
		if err != nil {
			c.intake.unread(&c.server.blocks)
			return session.Close
		}
		if v := c.received(n); v != session.More {
			return v
		}
	}
}

// tryWrite leaves the writing to a goroutine that may wait.
func (t *tcpLink) tryWrite([]byte) (int, error) { return 0, nil }

func newAttempt() any { return nil }
