package bus

import (
	"context"
	"errors"
	"sync"

	"github.com/segmentio/kafka-go"

	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// coordinatorConns is how many requests about offsets are under way at once, and so how many connections all readers of
// a client share: opening or closing many partitions at once must neither queue behind one connection nor open one each.
const coordinatorConns = 8

// coordinator asks the broker that keeps the group's offsets.
type coordinator struct {
	dialer *wire.Dialer
	group  string
	slots  chan struct{}

	mu     sync.Mutex
	idle   []*wire.Conn
	closed bool
}

func newCoordinator(dialer *wire.Dialer, group string) *coordinator {
	return &coordinator{dialer: dialer, group: group, slots: make(chan struct{}, coordinatorConns)}
}

// do makes one request.
func (c *coordinator) do(ctx context.Context, request func(*wire.Conn) error) error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	conn, err := c.take(ctx)
	if err != nil {
		return err
	}
	err = request(conn)
	if code, refused := wire.Refused(err); err != nil && (!refused || code == kafka.NotCoordinatorForGroup) {
		return errors.Join(err, conn.Close(), c.moved())
	}
	return errors.Join(err, c.give(conn))
}

// take returns an idle connection, or a new one.
func (c *coordinator) take(ctx context.Context) (*wire.Conn, error) {
	c.mu.Lock()
	if last := len(c.idle) - 1; last >= 0 {
		conn := c.idle[last]
		c.idle = c.idle[:last]
		c.mu.Unlock()
		return conn, nil
	}
	c.mu.Unlock()
	return c.dialer.Coordinator(ctx, c.group)
}

// give keeps a connection for the next request.
func (c *coordinator) give(conn *wire.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return conn.Close()
	}
	c.idle = append(c.idle, conn)
	return nil
}

// moved forgets the coordinator: the others' connections lead to the same broker.
func (c *coordinator) moved() (err error) {
	c.dialer.ForgetCoordinator(c.group)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.idle {
		err = errors.Join(err, conn.Close())
	}
	c.idle = nil
	return err
}

// close closes what is idle, and everything else as it is given back.
func (c *coordinator) close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	return c.moved()
}
