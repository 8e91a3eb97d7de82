package secure

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/order"
	"github.com/sluice-iot/sluice/transport"
)

// session is one connection, or the making of one.
type session struct {
	of     *Server
	number uint64
	from   exchange.Endpoint // where its handshake came from
	inbox  chan arrived      // for the library
	given  atomic.Int64      // bytes that went there
	ctx    context.Context
	cancel context.CancelFunc
	wire   *wire

	records records

	// guarded by Server.mu
	order.Links[session]
	pending bool
	at      time.Time // of the last datagram; of a pending one, the first
	cid     connectionID
	holder  transport.Credentials

	// claimed says that the peer named itself, or showed a certificate; run's alone.
	claimed bool
	key     transport.Credentials // whose key was given out
}

// arrived is a datagram.
type arrived struct {
	from  exchange.Endpoint
	bytes []byte
}

func newSession(of *Server, from exchange.Endpoint, number uint64) *session {
	one := &session{of: of, number: number, from: from, inbox: make(chan arrived, of.Queue)}
	one.ctx, one.cancel = context.WithCancel(of.ctx)
	one.wire = newWire(one)
	one.records.transmit, one.records.peer = of.listener.Send, from
	return one
}

// receive takes a datagram in; false: too many wait. It belongs to the caller.
func (one *session) receive(from exchange.Endpoint, datagram []byte) bool {
	defer func() {
		if what := recover(); what != nil {
			one.of.Counts.Panicked(what)
		}
	}()
	if whole := (arrived{from, datagram}); one.records.hold(whole) {
		return one.wait(whole)
	}
	var others []byte // in one, as each that the library gets may be answered with its last flight
	for {
		record, rest, ok := cut(datagram, cidSize)
		if !ok {
			return len(others) == 0 || one.wait(arrived{from, others})
		}
		if one.take(from, record) {
			others = append(others, record...)
		}
		datagram = rest
	}
}

// take gives a record's data to the handler. other: it is no data, and for the library.
func (one *session) take(from exchange.Endpoint, record []byte) (other bool) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	data, ok, other := one.records.read((*buffer)[:0], record, from)
	switch {
	case ok:
		*buffer = data
		size := min(len(data), one.of.DatagramBytes)
		one.of.handle(exchange.Endpoint{Session: one.number}, data[:size], size < len(data))
	case !other:
		one.of.Counts.Discarded()
	}
	return other
}

// wait has d wait for the library; false: too many do, or it had enough.
func (one *session) wait(d arrived) bool {
	size := int64(len(d.bytes))
	if one.given.Load()+size > libraryBytes {
		return false
	}
	select {
	case one.inbox <- arrived{d.from, bytes.Clone(d.bytes)}:
		one.given.Add(size)
		return true
	default:
		return false
	}
}

// libraryBytes is how much the library gets of a connection. It keeps messages of handshakes that may never be whole, before it knows who
// sends them too. The longest chains of certificates fit in several times.
const libraryBytes = 64 << 10

// run makes the connection and serves it until it ends.
func (one *session) run() {
	s := one.of
	defer func() {
		if what := recover(); what != nil {
			s.Counts.Panicked(what)
		}
		s.mu.Lock()
		s.drop(one)
		s.mu.Unlock()
	}()
	connection, err := dtls.ServerWithOptions(one.wire, net.UDPAddrFromAddrPort(one.from.Peer), one.options()...)
	if err != nil {
		s.Counts.Handshake("failed")
		s.Log.Error("a DTLS connection cannot be made", "err", err)
		return
	}
	defer func() { _ = connection.Close() }() // the peer finds out, or has gone
	if !one.shake(connection) {
		return
	}
	one.read(connection)
	one.cancel()
}

// shake does the handshake and finds out whose the connection is.
func (one *session) shake(connection *dtls.Conn) bool {
	s := one.of
	ctx, cancel := context.WithTimeout(one.ctx, s.HandshakeTimeout)
	defer cancel()
	if err := connection.HandshakeContext(ctx); err != nil {
		s.Counts.Handshake("failed")
		if one.claimed {
			s.failed(one)
		}
		return false
	}
	state, ok := connection.ConnectionState()
	if !ok {
		s.Counts.Handshake("failed")
		return false
	}
	holder := one.key
	if len(state.PeerCertificates) > 0 {
		holder = transport.Credentials{Certificates: string(bytes.Join(state.PeerCertificates, nil))}
	}
	s.mu.Lock()
	one.holder = holder
	s.mu.Unlock()
	if err := one.records.take(); err != nil {
		s.Counts.Handshake("failed")
		s.Log.Error("a DTLS connection cannot be served", "err", err)
		return false
	}
	if !s.settle(one) {
		s.Counts.Handshake("refused")
		return false
	}
	s.Counts.Handshake("done")
	for _, d := range one.records.start() {
		one.receive(d.from, d.bytes)
	}
	return true
}

// read waits until the connection ends.
func (one *session) read(connection *dtls.Conn) {
	stop := context.AfterFunc(one.ctx, func() { _ = connection.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var buffer [1]byte
	for {
		// Data is taken from the records themselves. What the library saw of it came before that, and is among what was held.
		_, err := connection.Read(buffer[:])
		if one.ctx.Err() != nil || errors.Is(err, io.EOF) || errors.Is(err, dtls.ErrConnClosed) || errors.Is(err, net.ErrClosed) || isTimeout(err) {
			return
		}
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// send has datagram go out; false: the connection is not made yet, or over. It does not wait: what is written goes to the listener's outbox.
func (one *session) send(datagram []byte) bool { return one.records.send(datagram) }
