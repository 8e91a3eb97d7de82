// Package listener reads and writes CoAP's datagrams, many per system call (recvmmsg and
// sendmmsg where there are such). It knows nothing of what they hold.
package listener

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
)

// Options bound a Listener.
type Options struct {
	// Address is where to listen. Without a host it is every address of both families, on one port.
	Address string
	// DatagramBytes is how much is read of a datagram; what is longer is cut.
	DatagramBytes int
	// Batch is how many datagrams one system call moves.
	Batch int
	// OutboxBytes bounds the datagrams that wait to be sent on each socket; beyond it they are
	// dropped, as the network might: peers send again.
	OutboxBytes int
	// ReceiveBufferBytes is what the kernel is asked to hold per socket; it may grant less.
	ReceiveBufferBytes int
}

// Counts are what a Listener counts; its methods must be safe for concurrent use.
type Counts interface {
	// Received: n datagrams were read.
	Received(n int)
	// Sent: n datagrams were written.
	Sent(n int)
	// Unsent: a datagram was dropped because the outbox was full, or the kernel refused it.
	Unsent()
}

// Handler takes one datagram, of which bytes belongs to it until it returns. cut says that the
// datagram was longer.
type Handler func(from exchange.Endpoint, bytes []byte, cut bool)

// Listener is the sockets of one address. It is the exchange table's Sink.
type Listener struct {
	sockets []*socket
	writers sync.WaitGroup
}

// Open binds the sockets and starts to write what Send is given.
func Open(o Options, counts Counts) (*Listener, error) {
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil {
		return nil, fmt.Errorf("coap listen address: %w", err)
	}
	networks := []string{"udp"}
	if host == "" {
		networks = []string{"udp4", "udp6"}
	}
	l := &Listener{}
	for _, network := range networks {
		s, err := open(network, net.JoinHostPort(host, port), o, counts)
		if err != nil && network == "udp6" && len(l.sockets) > 0 {
			break // a machine without IPv6
		}
		if err != nil {
			for _, bound := range l.sockets {
				_ = bound.connection.Close() // nothing was sent on it
			}
			return nil, fmt.Errorf("listen for coap: %w", err)
		}
		port = strconv.Itoa(s.connection.LocalAddr().(*net.UDPAddr).Port)
		l.sockets = append(l.sockets, s)
	}
	for _, s := range l.sockets {
		l.writers.Go(s.write)
	}
	return l, nil
}

// open binds one socket, of one family: on a socket of both, IPv4 peers have addresses that
// sendmmsg refuses.
func open(network, address string, o Options, counts Counts) (*socket, error) {
	at, err := net.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	if network == "udp" {
		network = "udp6"
		if at.IP.To4() != nil {
			network = "udp4"
		}
	}
	connection, err := net.ListenUDP(network, at)
	if err != nil {
		return nil, err
	}
	// The kernel's own limit may be lower, and a small buffer only means that peers send again.
	_ = connection.SetReadBuffer(o.ReceiveBufferBytes)
	return &socket{
		connection: connection, batched: ipv4.NewPacketConn(connection), options: o, counts: counts,
		filled: make(chan struct{}, 1),
	}, nil
}

// Addr returns the address of the first socket.
func (l *Listener) Addr() string { return l.sockets[0].connection.LocalAddr().String() }

// Send has datagram written soon. It never blocks, and keeps nothing of datagram.
func (l *Listener) Send(to exchange.Endpoint, datagram []byte) {
	l.sockets[to.Socket].send(to.Peer, datagram)
}

// Read gives every datagram to handle, from one goroutine per socket, until StopReading, which
// is a nil return, or a socket fails.
func (l *Listener) Read(handle Handler) error {
	errs := make([]error, len(l.sockets))
	var readers sync.WaitGroup
	for i, s := range l.sockets {
		readers.Go(func() {
			if errs[i] = s.read(i, handle); errs[i] != nil {
				l.StopReading()
			}
		})
	}
	readers.Wait()
	return errors.Join(errs...)
}

// StopReading ends Read. Send goes on working.
func (l *Listener) StopReading() {
	for _, s := range l.sockets {
		// It fails only on a closed socket, whose reading has ended already.
		_ = s.connection.SetReadDeadline(time.Unix(1, 0))
	}
}

// Close writes what Send was given, then closes the sockets.
func (l *Listener) Close() error {
	for _, s := range l.sockets {
		// What the kernel does not take by then is lost, as datagrams may be.
		_ = s.connection.SetWriteDeadline(time.Now().Add(time.Second))
		s.close()
	}
	l.writers.Wait()
	var errs []error
	for _, s := range l.sockets {
		errs = append(errs, s.connection.Close())
	}
	return errors.Join(errs...)
}

// stopped reports whether err is that of a socket told to stop.
func stopped(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed)
}
