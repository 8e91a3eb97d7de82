package listener

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
)

// link is a client's byte stream, whatever it runs over.
type link interface {
	// receive reads and hands on what comes, until c.received returns another verdict than More;
	// that is returned. Close says that the stream ended. It may give the connection to somebody
	// else to read, who will drive it: then it is no longer mine.
	receive(c *conn) (v session.Verdict, mine bool)
	// tryWrite writes what can be written without waiting.
	tryWrite(b []byte) (n int, err error)
	// write writes all of b, waiting for at most the write timeout.
	write(b []byte) error
	// interrupt makes receive return, now and from now on. It does not block.
	interrupt()
	// abort makes write fail too.
	abort()
	// close ends the stream so that the client sees what was written last.
	close()
}

// conn is a connection: a session, and the stream it is fed from. It implements session.Wire.
type conn struct {
	session.Session
	server *Server
	link   link
	writer *flusher
	queued *conn // the next in the writer's queue
	intake intake
	source *netip.AddrPort // the client, as a PROXY header told; nil: none did

	mu      sync.Mutex
	waiting chan struct{} // made when the reader first has to wait
	resumed bool

	// Small ones together: a byte of an idle connection is paid for by each.
	fronted  bool  // it may begin with a PROXY header, which has not come yet; its reader's alone
	crowding bool  // it is there to be turned away
	index    int32 // in Server.conns
}

// Flush implements session.Wire.
func (c *conn) Flush() { c.writer.add(c) }

// Resume implements session.Wire.
func (c *conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.resumed = true
		return
	}
	select {
	case c.waiting <- struct{}{}:
	default:
	}
}

// Stop implements session.Wire.
func (c *conn) Stop() {
	c.link.interrupt()
	c.Resume()
}

// wait waits for Resume, or for room to be closed (nil never is).
func (c *conn) wait(room <-chan struct{}) {
	c.mu.Lock()
	if c.waiting == nil {
		c.waiting = make(chan struct{}, 1)
	}
	resumed := c.resumed
	c.resumed = false
	c.mu.Unlock()
	if resumed {
		return
	}
	select {
	case <-room:
	case <-c.waiting:
	}
}

// drive does what verdict v asks for, and goes on until the connection is over or given to
// somebody else.
func (c *conn) drive(v session.Verdict) {
	if c.driven(v) {
		c.end()
	}
}

// driven reports whether the connection is over; else it was given away.
func (c *conn) driven(v session.Verdict) (over bool) {
	defer func() {
		if what := recover(); what != nil {
			c.panicked(what)
			over = true
		}
	}()
	for mine := true; mine; {
		switch v {
		case session.Connect:
			if v = c.Connect(c.server.working); v == session.More {
				v = c.again()
			}
		case session.Pause:
			c.wait(nil)
			v = c.again()
		case session.Full:
			c.wait(c.Room())
			v = c.again()
		case session.More:
			v, mine = c.link.receive(c)
		default:
			return true
		}
	}
	return false
}

// received feeds the session n bytes that were read into the intake's room.
func (c *conn) received(n int) session.Verdict {
	c.server.metrics.read.Add(float64(n))
	v := c.intake.read(n, &c.server.blocks, c.feed)
	c.flush(false)
	return v
}

func (c *conn) again() session.Verdict {
	v := c.intake.again(c.feed)
	c.flush(false)
	return v
}

// flush writes what the session owes as far as that goes without waiting; what the client is too
// slow for is left to a goroutine that waits. asked: by Flush.
func (c *conn) flush(asked bool) {
	for o := c.Take(asked); o != nil; {
		n, err := c.link.tryWrite(o.Bytes)
		c.server.metrics.written.Add(float64(n))
		if err != nil {
			c.Break(session.CauseLost)
		} else if n < len(o.Bytes) {
			c.server.running.Go(func() { c.writeOn(o, n) })
			return
		}
		o = c.Wrote(o)
	}
}

// writeOn writes o from its nth byte, and what comes up meanwhile, waiting for the client.
func (c *conn) writeOn(o *session.Output, n int) {
	for o != nil {
		if err := c.link.write(o.Bytes[n:]); err != nil {
			c.Break(session.CauseSlow)
		} else {
			c.server.metrics.written.Add(float64(len(o.Bytes) - n))
		}
		n = 0
		o = c.Wrote(o)
	}
}

// end writes what is left, closes the connection and forgets it.
func (c *conn) end() {
	c.Break(session.CauseLost) // unless it is closing already
	for {
		if o := c.Take(false); o != nil {
			c.writeOn(o, 0)
		} else if !c.Writing() {
			break
		} else {
			c.wait(nil)
		}
	}
	if log := c.server.log; log.Enabled(context.Background(), slog.LevelDebug) {
		log.Debug("connection ended", slog.String("remote", c.remote()), slog.Any("cause", c.Cause()))
	}
	c.link.close()
	c.Ended()
	c.server.remove(c)
	c.server.running.Done()
}

// panicked keeps a bug that one client uncovers from taking the others down with it.
func (c *conn) panicked(what any) {
	c.server.metrics.panics.Inc()
	c.server.log.Error("connection panicked", slog.Any("panic", what), slog.String("remote", c.remote()), slog.String("stack", string(debug.Stack())))
	c.Break(session.CausePanic)
}
