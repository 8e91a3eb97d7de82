package listener

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/ipv4"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
)

// socket is one UDP socket with its outbox.
type socket struct {
	connection *net.UDPConn
	// batched is connection for many datagrams at a time. Its calls are the same for both families.
	batched *ipv4.PacketConn
	options Options
	counts  Counts

	mu     sync.Mutex
	outbox outbox
	closed bool
	filled chan struct{} // has a token when the writer has something to do
}

// outbox holds datagrams that wait to be written, one after the other in bytes.
type outbox struct {
	bytes []byte
	to    []netip.AddrPort
	ends  []int
}

func (o *outbox) reset() { o.bytes, o.to, o.ends = o.bytes[:0], o.to[:0], o.ends[:0] }

func (s *socket) read(index int, handle Handler) error {
	messages := make([]ipv4.Message, s.options.Batch)
	size := s.options.DatagramBytes + 1 // one more, to see that a datagram was longer
	space := make([]byte, size*len(messages))
	for i := range messages {
		messages[i].Buffers = [][]byte{space[i*size : (i+1)*size : (i+1)*size]}
	}
	for {
		n, err := s.batched.ReadBatch(messages, 0)
		if err != nil {
			if stopped(err) {
				return nil
			}
			return fmt.Errorf("read datagrams: %w", err)
		}
		s.counts.Received(n)
		for i := range messages[:n] {
			m := &messages[i]
			from, ok := m.Addr.(*net.UDPAddr)
			if !ok {
				continue
			}
			cut := m.N == size
			handle(exchange.Endpoint{Peer: from.AddrPort(), Socket: index}, m.Buffers[0][:min(m.N, size-1)], cut)
		}
	}
}

func (s *socket) send(to netip.AddrPort, datagram []byte) {
	s.mu.Lock()
	room := !s.closed && len(s.outbox.bytes)+len(datagram) <= s.options.OutboxBytes
	if room {
		s.outbox.bytes = append(s.outbox.bytes, datagram...)
		s.outbox.to = append(s.outbox.to, to)
		s.outbox.ends = append(s.outbox.ends, len(s.outbox.bytes))
	}
	first := len(s.outbox.ends) == 1
	s.mu.Unlock()
	if !room {
		s.counts.Unsent()
		return
	}
	if first {
		s.ring()
	}
}

// ring wakes the writer.
func (s *socket) ring() {
	select {
	case s.filled <- struct{}{}:
	default:
	}
}

func (s *socket) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.ring()
}

// write moves the outbox to the kernel, until the socket is closed and the outbox empty. What
// comes in while a batch is being written is the next batch.
func (s *socket) write() {
	var taken outbox
	batch := newBatch(s.options.Batch)
	for range s.filled {
		for {
			s.mu.Lock()
			taken, s.outbox = s.outbox, taken
			closed := s.closed
			s.mu.Unlock()
			if len(taken.ends) == 0 {
				if closed {
					return
				}
				break
			}
			s.flush(&taken, batch)
			taken.reset()
		}
	}
}

// flush writes all of taken.
func (s *socket) flush(taken *outbox, b *batch) {
	for first := 0; first < len(taken.ends); {
		messages := b.fill(taken, first)
		n, err := s.batched.WriteBatch(messages, 0)
		if n > 0 {
			s.counts.Sent(n)
			first += n
		}
		if err != nil && n <= 0 {
			// The first of the batch cannot be sent, to an address without a route perhaps. The
			// others can; and if none can, this ends as soon as each was tried.
			s.counts.Unsent()
			first++
		}
	}
}

// batch is the arguments of one system call, used again and again.
type batch struct {
	messages  []ipv4.Message
	addresses []net.UDPAddr
	hosts     [][16]byte
}

func newBatch(n int) *batch {
	b := &batch{messages: make([]ipv4.Message, n), addresses: make([]net.UDPAddr, n), hosts: make([][16]byte, n)}
	for i := range b.messages {
		b.messages[i].Buffers = make([][]byte, 1)
		b.messages[i].Addr = &b.addresses[i]
	}
	return b
}

// fill returns as many datagrams of o as fit, from the first on.
func (b *batch) fill(o *outbox, first int) []ipv4.Message {
	n := min(len(b.messages), len(o.ends)-first)
	start := 0
	if first > 0 {
		start = o.ends[first-1]
	}
	for i := range n {
		end := o.ends[first+i]
		b.messages[i].Buffers[0] = o.bytes[start:end]
		start = end
		to := o.to[first+i]
		b.hosts[i] = to.Addr().As16()
		b.addresses[i] = net.UDPAddr{IP: b.hosts[i][:], Port: int(to.Port()), Zone: to.Addr().Zone()}
	}
	return b.messages[:n]
}
