package ring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
)

// dialer opens sessions through go-zookeeper, one *zk.Conn per session: a Conn that outlives its session would send what is
// queued in it in the next, where it means something else.
type dialer struct {
	settings Settings
	log      *slog.Logger
}

// Connect implements connector.
func (d dialer) Connect(ctx context.Context) (connection, error) {
	c := &client{
		patience: d.settings.ZooKeeperSession / 3, servers: d.settings.ZooKeeper,
		established: make(chan struct{}), expired: make(chan struct{}), closing: make(chan struct{}), watches: map[string][]*watch{},
	}
	conn, _, err := zk.Connect(d.settings.ZooKeeper, d.settings.ZooKeeperSession, zk.WithLogInfo(false), zk.WithLogger(chatter{d.log}),
		zk.WithDialer(c.dial), zk.WithHostProvider(&hosts{client: c}), zk.WithEventCallback(c.observe))
	if err != nil {
		return nil, fmt.Errorf("open the client: %w", err)
	}
	c.conn = conn
	select {
	case <-c.established:
		c.id = conn.SessionID()
		return c, nil
	case <-c.expired:
	case <-ctx.Done():
	}
	c.Close()
	return nil, errors.Join(errLost, ctx.Err())
}

// chatter lets go-zookeeper's remarks through for who debugs: what matters, the ring says.
type chatter struct{ log *slog.Logger }

func (c chatter) Printf(format string, values ...any) {
	c.log.Debug("zookeeper client: " + fmt.Sprintf(format, values...))
}

// client is one session through go-zookeeper.
type client struct {
	conn     *zk.Conn
	id       int64
	servers  []string
	patience time.Duration // for a connection to be made and greeted

	negotiated  atomic.Int32 // milliseconds
	established chan struct{}
	begin       sync.Once
	expired     chan struct{}
	end         sync.Once
	closing     chan struct{}
	shut        sync.Once
	asking      sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	watches map[string][]*watch
	// stray are changes whose askers have gone; what is asked next is asked after them.
	stray []<-chan struct{}
}

type watch struct{ changed func() }

// observe is called by go-zookeeper for everything that happens. It must not block.
func (c *client) observe(e zk.Event) {
	switch {
	case e.State == zk.StateHasSession && e.Type == zk.EventSession:
		c.begin.Do(func() { close(c.established) })
	case e.State == zk.StateExpired:
		c.end.Do(func() { close(c.expired) })
		c.fireAll()
	case e.Path != "":
		c.mu.Lock()
		fired := c.watches[e.Path]
		delete(c.watches, e.Path)
		c.mu.Unlock()
		for _, w := range fired {
			w.changed()
		}
	}
}

func (c *client) fireAll() {
	c.mu.Lock()
	all := c.watches
	c.watches = map[string][]*watch{}
	c.mu.Unlock()
	for _, fired := range all {
		for _, w := range fired {
			w.changed()
		}
	}
}

func (c *client) watch(path string, changed func()) *watch {
	if changed == nil {
		return nil
	}
	w := &watch{changed}
	c.mu.Lock()
	c.watches[path] = append(c.watches[path], w)
	c.mu.Unlock()
	return w
}

func (c *client) unwatch(path string, w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := slices.DeleteFunc(c.watches[path], func(other *watch) bool { return other == w })
	if len(left) == 0 {
		delete(c.watches, path)
		return
	}
	c.watches[path] = left
}

// Session implements connection.
func (c *client) Session() (int64, time.Duration) {
	return c.id, time.Duration(c.negotiated.Load()) * time.Millisecond
}

// Expired implements connection.
func (c *client) Expired() <-chan struct{} { return c.expired }

// Close implements connection.
func (c *client) Close() {
	c.shut.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		close(c.closing)
		c.conn.Close()
		c.fireAll()
	})
	c.asking.Wait()
}

// ask runs request, which blocks for as long as ZooKeeper is away, until it has answered or ctx ends.
func ask[T any](ctx context.Context, c *client, changes bool, request func() (T, error)) (answer T, err error) {
	if err := c.awaitStray(ctx); err != nil {
		return answer, err
	}
	type result struct {
		answer T
		err    error
	}
	done, answered := make(chan result, 1), make(chan struct{})
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return answer, errLost
	}
	c.asking.Go(func() {
		defer close(answered)
		got, err := request()
		done <- result{got, plain(err)}
	})
	c.mu.Unlock()
	select {
	case r := <-done:
		return r.answer, r.err
	case <-c.expired:
		return answer, errLost
	case <-ctx.Done():
		if changes {
			c.mu.Lock()
			c.stray = append(c.stray, answered)
			c.mu.Unlock()
		}
		return answer, errors.Join(errLost, ctx.Err())
	}
}

// awaitStray keeps the order of requests whose askers did not wait.
func (c *client) awaitStray(ctx context.Context) error {
	for {
		c.mu.Lock()
		var first <-chan struct{}
		if len(c.stray) > 0 {
			first = c.stray[0]
		}
		c.mu.Unlock()
		if first == nil {
			return nil
		}
		select {
		case <-first:
		case <-ctx.Done():
			return errors.Join(errLost, ctx.Err())
		}
		c.mu.Lock()
		c.stray = slices.DeleteFunc(c.stray, func(s <-chan struct{}) bool { return s == first })
		c.mu.Unlock()
	}
}

// plain maps go-zookeeper's errors.
func plain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, zk.ErrNodeExists):
		return errExists
	case errors.Is(err, zk.ErrNoNode):
		return errNoNode
	case errors.Is(err, zk.ErrBadVersion):
		return errVersion
	case errors.Is(err, zk.ErrNoAuth), errors.Is(err, zk.ErrNoChildrenForEphemerals), errors.Is(err, zk.ErrNotEmpty), errors.Is(err, zk.ErrInvalidPath):
		return err
	default:
		return fmt.Errorf("%w: %w", errLost, err)
	}
}

// Apply implements connection.
func (c *client) Apply(ctx context.Context, changes ...change) error {
	requests := make([]any, len(changes))
	for i, ch := range changes {
		switch ch.kind {
		case create:
			r := &zk.CreateRequest{Path: ch.path, Data: ch.data, Acl: zk.WorldACL(zk.PermAll)}
			if ch.ephemeral {
				r.Flags = zk.FlagEphemeral
			}
			requests[i] = r
		case update:
			requests[i] = &zk.SetDataRequest{Path: ch.path, Data: ch.data, Version: ch.version}
		case remove:
			requests[i] = &zk.DeleteRequest{Path: ch.path, Version: ch.version}
		}
	}
	_, err := ask(ctx, c, true, func() (struct{}, error) {
		answers, err := c.conn.Multi(requests...)
		for _, a := range answers {
			// The steps beside the one that failed carry an error of no meaning.
			if e := plain(a.Error); errors.Is(e, errExists) || errors.Is(e, errNoNode) || errors.Is(e, errVersion) {
				return struct{}{}, a.Error
			}
		}
		return struct{}{}, err
	})
	return err
}

// Read implements connection.
func (c *client) Read(ctx context.Context, path string, changed func()) (znode, error) {
	w := c.watch(path, changed)
	found, err := ask(ctx, c, false, func() (znode, error) {
		for {
			data, stat, err := c.get(path, w != nil)
			if err == nil {
				return znode{data: data, version: stat.Version, owner: stat.EphemeralOwner}, nil
			}
			if !errors.Is(err, zk.ErrNoNode) || w == nil {
				return znode{}, err
			}
			exists, _, _, err := c.conn.ExistsW(path)
			if err != nil {
				return znode{}, err
			}
			if !exists {
				return znode{}, zk.ErrNoNode
			}
		}
	})
	if err != nil && !errors.Is(err, errNoNode) {
		c.unwatch(path, w)
	}
	return found, err
}

func (c *client) get(path string, watched bool) ([]byte, *zk.Stat, error) {
	if !watched {
		return c.conn.Get(path)
	}
	data, stat, _, err := c.conn.GetW(path)
	return data, stat, err
}

// List implements connection.
func (c *client) List(ctx context.Context, path string, changed func()) ([]string, error) {
	w := c.watch(path, changed)
	names, err := ask(ctx, c, false, func() (names []string, err error) {
		if w == nil {
			names, _, err = c.conn.Children(path)
		} else {
			names, _, _, err = c.conn.ChildrenW(path)
		}
		return names, err
	})
	if err != nil {
		c.unwatch(path, w)
	}
	return names, err
}
