package ring

import (
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// dial connects to a server; refused once the session is over, so that this Conn never has another.
func (c *client) dial(network, address string, _ time.Duration) (net.Conn, error) {
	select {
	case <-c.expired:
		return nil, net.ErrClosed
	case <-c.closing:
		return nil, net.ErrClosed
	default:
	}
	conn, err := net.DialTimeout(network, address, c.patience)
	if err != nil {
		return nil, err
	}
	return &greeted{Conn: conn, client: c}, nil
}

// greeted reads the negotiated time-out, which go-zookeeper keeps to itself, out of the server's greeting, and bounds the wait for it.
type greeted struct {
	net.Conn
	client *client
	head   []byte
}

// greeting is what the server says first: length, protocol version, time-out in milliseconds, four bytes each.
const greeting = 12

func (g *greeted) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	if len(g.head) < greeting {
		g.head = append(g.head, b[:min(n, greeting-len(g.head))]...)
		if len(g.head) == greeting {
			if timeout := int32(binary.BigEndian.Uint32(g.head[8:])); timeout > 0 {
				g.client.negotiated.Store(timeout)
			}
		}
	}
	return n, err
}

func (g *greeted) SetReadDeadline(t time.Time) error {
	if latest := time.Now().Add(g.client.patience); len(g.head) < greeting && (t.IsZero() || t.After(latest)) {
		t = latest
	}
	return g.Conn.SetReadDeadline(t)
}

// hosts hands the servers out one after the other, by name, so that each attempt resolves it anew. The first attempt after a
// connection is made at once, the others are paced.
type hosts struct {
	client *client
	mu     sync.Mutex
	next   int
	tried  int
}

// paces are the pauses between attempts to connect.
const (
	firstPace = 20 * time.Millisecond
	lastPace  = 250 * time.Millisecond
)

func (h *hosts) Init([]string) error { return nil }
func (h *hosts) Len() int            { return len(h.client.servers) }

func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried = 0
}

// Next never asks go-zookeeper for its own pause, a second long, but to let it end.
func (h *hosts) Next() (server string, retryStart bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tried > 0 {
		t := time.NewTimer(min(lastPace, firstPace<<min(h.tried-1, 8)))
		defer t.Stop()
		select {
		case <-t.C:
		case <-h.client.closing:
		}
	}
	h.tried++
	select {
	case <-h.client.closing:
		retryStart = true
	default:
	}
	server = h.client.servers[h.next%len(h.client.servers)]
	h.next++
	return server, retryStart
}
