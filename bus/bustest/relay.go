package bustest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// Relay stands between a client and its brokers, to be stalled and cut. Give its Dial to
// bus.Options.
type Relay struct {
	mu     sync.Mutex
	gate   chan struct{} // closed while bytes flow
	cut    bool
	conns  map[net.Conn]struct{}
	relays sync.WaitGroup
}

// NewRelay returns a relay that lets everything through. It ends with the test.
func NewRelay(t testing.TB) *Relay {
	r := &Relay{gate: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(r.gate)
	t.Cleanup(func() {
		r.Cut()
		r.Flow()
		r.relays.Wait()
	})
	return r
}

var errCut = errors.New("the relay is cut")

// Dial connects through the relay.
func (r *Relay) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	r.mu.Lock()
	cut := r.cut
	r.mu.Unlock()
	if cut {
		return nil, errCut
	}
	far, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	near, client := net.Pipe()
	r.mu.Lock()
	r.conns[near], r.conns[far] = struct{}{}, struct{}{}
	r.mu.Unlock()
	r.relays.Go(func() { r.copy(far, near) })
	r.relays.Go(func() { r.copy(near, far) })
	return client, nil
}

// copy moves bytes while the gate is open; the end of one side ends both.
func (r *Relay) copy(to, from net.Conn) {
	defer r.drop(to)
	defer r.drop(from)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			r.mu.Lock()
			gate := r.gate
			r.mu.Unlock()
			<-gate
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *Relay) drop(c net.Conn) {
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
	_ = c.Close() // the other direction may have closed it
}

// Stall lets no byte through until Flow.
func (r *Relay) Stall() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.gate:
		r.gate = make(chan struct{})
	default:
	}
}

// Flow ends Stall.
func (r *Relay) Flow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.gate:
	default:
		close(r.gate)
	}
}

// Cut closes all connections and refuses new ones until Mend.
func (r *Relay) Cut() {
	r.mu.Lock()
	r.cut = true
	conns := make([]io.Closer, 0, len(r.conns))
	for c := range r.conns {
		conns = append(conns, c)
	}
	r.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // it may have ended by itself
	}
}

// Mend ends Cut.
func (r *Relay) Mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = false
}
