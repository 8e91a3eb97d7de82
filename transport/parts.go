package transport

import (
	"context"
	"sync"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// partBytes is how much of a package is asked for at a time.
const partBytes = 256 << 10

// parts keeps parts of packages: many devices read the same one at a time, and the core is asked for each part once.
type parts struct {
	t     *Transport
	known *recent[partKey, []byte]

	mu      sync.Mutex
	closed  bool
	flights map[partKey]*partFlight
	calls   sync.WaitGroup
}

type partKey struct {
	of ident.ID
	n  int64
}

// partFlight is a call for a part; its fields are set before done is closed.
type partFlight struct {
	done chan struct{}
	data []byte
	err  error
}

func newParts(t *Transport) *parts {
	known := newRecent(t.config.PackageCacheBytes, func(_ partKey, data []byte) int { return len(data) })
	return &parts{t: t, known: known, flights: map[partKey]*partFlight{}}
}

// get returns a package's n-th part.
func (c *parts) get(ctx context.Context, p Package, n int64) ([]byte, error) {
	f, err := c.join(p, partKey{p.ID, n})
	if err != nil {
		return nil, err
	}
	select {
	case <-f.done:
		return f.data, f.err
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Unavailable, "read a package", ctx.Err())
	}
}

// over is a flight that has landed.
var over = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (c *parts) join(p Package, key partKey) (*partFlight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if data, found := c.known.get(key); found {
		return &partFlight{done: over, data: data}, nil
	}
	if f := c.flights[key]; f != nil {
		return f, nil
	}
	if c.closed {
		return nil, fault.New(fault.Unavailable, "stopping")
	}
	f := &partFlight{done: make(chan struct{})}
	c.flights[key] = f
	c.calls.Go(func() {
		f.data, f.err = c.ask(p, key.n)
		c.mu.Lock()
		delete(c.flights, key)
		if f.err == nil {
			c.known.put(key, f.data)
		}
		c.mu.Unlock()
		close(f.done)
	})
	return f, nil
}

// ask asks the core. It ends within the call budget.
func (c *parts) ask(p Package, n int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.t.config.CallBudget)
	defer cancel()
	answer, err := c.t.call(ctx, "read_package", p.ID[:], &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ReadPackage{
		ReadPackage: &sluicepb.ReadPackage{TenantId: p.Tenant.ID[:], PackageId: p.ID[:], Offset: n * partBytes, Length: partBytes},
	}})
	if err != nil {
		return nil, err
	}
	if data := answer.GetData(); int64(len(data)) == min(partBytes, p.Size-n*partBytes) {
		return data, nil
	}
	return nil, fault.New(fault.Unavailable, "a package's data is not as long as it should be")
}

// close lets nobody ask any more and waits for the calls in progress.
func (c *parts) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.calls.Wait()
}
