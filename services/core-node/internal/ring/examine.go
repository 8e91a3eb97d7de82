package ring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Examine opens a session as a node does, without becoming one, and returns the names of the nodes and the time-out that was granted.
func Examine(ctx context.Context, o Settings) (nodes []string, timeout time.Duration, err error) {
	if err := o.Validate(); err != nil {
		return nil, 0, err
	}
	conn, err := dialer{o, slog.New(slog.DiscardHandler)}.Connect(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("connect to ZooKeeper: %w", err)
	}
	defer conn.Close()
	_, timeout = conn.Session()
	if err := o.fits(timeout); err != nil {
		return nil, timeout, fmt.Errorf("ZooKeeper grants a session time-out of %v: %w", timeout, err)
	}
	nodes, err = conn.List(ctx, layout(o.ZooKeeperRoot).nodes(), nil)
	if err != nil && !errors.Is(err, errNoNode) { // the first node has yet to come
		return nil, timeout, fmt.Errorf("list the nodes: %w", err)
	}
	return nodes, timeout, nil
}
