package secure

import (
	"net"
	"os"
	"sync"
	"time"
)

// wire is a connection's view of the sockets: what was routed to it comes in, what it sends goes to the outbox of the listener.
// It implements net.PacketConn.
type wire struct {
	one *session

	mu      sync.Mutex
	expired chan struct{} // closed when reading is to stop
	timer   *time.Timer
	closed  chan struct{}
	once    sync.Once
}

func newWire(one *session) *wire {
	return &wire{one: one, expired: make(chan struct{}), closed: make(chan struct{})}
}

// ReadFrom implements net.PacketConn.
func (w *wire) ReadFrom(into []byte) (int, net.Addr, error) {
	w.mu.Lock()
	expired := w.expired
	w.mu.Unlock()
	select {
	case <-w.closed:
		return 0, nil, net.ErrClosed
	case <-expired:
		return 0, nil, os.ErrDeadlineExceeded
	case d := <-w.one.inbox:
		return copy(into, d.bytes), net.UDPAddrFromAddrPort(d.from.Peer), nil
	}
}

// WriteTo implements net.PacketConn. Where the peer is, the records know.
func (w *wire) WriteTo(datagram []byte, _ net.Addr) (int, error) {
	w.one.records.pass(datagram)
	return len(datagram), nil
}

// Close implements net.PacketConn. The sockets stay open: they are others' too.
func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

// LocalAddr implements net.PacketConn.
func (w *wire) LocalAddr() net.Addr { return &net.UDPAddr{} }

// SetDeadline implements net.PacketConn. Writing never waits.
func (w *wire) SetDeadline(t time.Time) error { return w.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn. Reading that waits is told at once.
func (w *wire) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	select {
	case <-w.expired:
		w.expired = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return nil
	}
	expired := w.expired
	if wait := time.Until(t); wait > 0 {
		w.timer = time.AfterFunc(wait, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.expired == expired {
				closeOnce(expired)
			}
		})
		return nil
	}
	closeOnce(expired)
	return nil
}

func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}
