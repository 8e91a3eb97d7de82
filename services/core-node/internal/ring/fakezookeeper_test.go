package ring

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// fakeZooKeeper is ZooKeeper as its clients can tell: sessions that expire, ephemerals that go with them, versions, one-shot watches,
// transactions; requests of a session in order. Its time is the bubble's.
type fakeZooKeeper struct {
	draw    func(key string, most time.Duration) time.Duration
	timeout time.Duration
	lag     time.Duration // what the leader knows late of a session's life

	mu       sync.Mutex
	znodes   map[string]*znode
	sessions map[int64]*fakeSession
	next     int64
	watches  []fakeWatch
}

type fakeSession struct {
	expiry *time.Timer
	gone   bool
}

type fakeWatch struct {
	path     string
	children bool
	tell     func()
}

func newFakeZooKeeper(timeout time.Duration, draw func(string, time.Duration) time.Duration) *fakeZooKeeper {
	return &fakeZooKeeper{
		draw: draw, timeout: timeout, lag: timeout * 15 / 100,
		znodes: map[string]*znode{"/": {}}, sessions: map[int64]*fakeSession{},
	}
}

func (z *fakeZooKeeper) open() int64 {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.next++
	id := z.next
	s := &fakeSession{}
	s.expiry = time.AfterFunc(z.timeout, func() { z.expire(id) })
	z.sessions[id] = s
	return id
}

// touch puts a session's expiry off; false when it is over.
func (z *fakeZooKeeper) touch(id int64) bool {
	s := z.sessions[id]
	if s.gone {
		return false
	}
	key := fmt.Sprint("touch", id)
	s.expiry.Reset(z.timeout - z.draw(key, z.lag) + z.draw(key+"tick", z.timeout/10))
	return true
}

// expire ends a session; all its ephemerals go in one transaction.
func (z *fakeZooKeeper) expire(id int64) {
	z.mu.Lock()
	defer z.mu.Unlock()
	s := z.sessions[id]
	if s.gone {
		return
	}
	s.gone = true
	s.expiry.Stop()
	for _, p := range slices.Sorted(maps.Keys(z.znodes)) {
		if z.znodes[p].owner == id {
			z.remove(p)
		}
	}
}

// restarted gives every session its whole time again, as a new leader does.
func (z *fakeZooKeeper) restarted() {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, s := range z.sessions {
		if !s.gone {
			s.expiry.Reset(z.timeout)
		}
	}
}

func (z *fakeZooKeeper) stopExpiring() {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, s := range z.sessions {
		s.expiry.Stop()
	}
}

func (z *fakeZooKeeper) fire(p string, children bool) {
	z.watches = slices.DeleteFunc(z.watches, func(w fakeWatch) bool {
		if w.path != p || w.children != children {
			return false
		}
		w.tell()
		return true
	})
}

func (z *fakeZooKeeper) remove(p string) {
	delete(z.znodes, p)
	z.fire(p, false)
	z.fire(path.Dir(p), true)
}

// apply makes all changes or none.
func (z *fakeZooKeeper) apply(id int64, changes []change) error {
	before := maps.Clone(z.znodes)
	var fires []func()
	for _, c := range changes {
		found := z.znodes[c.path]
		switch {
		case c.kind == create && found != nil:
			z.znodes = before
			return errExists
		case c.kind == create && z.znodes[path.Dir(c.path)] == nil, c.kind != create && found == nil:
			z.znodes = before
			return errNoNode
		case c.kind != create && c.version != anyVersion && c.version != found.version:
			z.znodes = before
			return errVersion
		}
		switch c.kind {
		case create:
			made := &znode{data: c.data}
			if c.ephemeral {
				made.owner = id
			}
			z.znodes[c.path] = made
			fires = append(fires, func() { z.fire(c.path, false); z.fire(path.Dir(c.path), true) })
		case update:
			z.znodes[c.path] = &znode{data: c.data, version: found.version + 1, owner: found.owner}
			fires = append(fires, func() { z.fire(c.path, false) })
		case remove:
			delete(z.znodes, c.path)
			fires = append(fires, func() { z.fire(c.path, false); z.fire(path.Dir(c.path), true) })
		}
	}
	for _, f := range fires {
		f()
	}
	return nil
}

func (z *fakeZooKeeper) children(p string) (names []string, err error) {
	if z.znodes[p] == nil {
		return nil, errNoNode
	}
	for name := range z.znodes {
		if name != "/" && path.Dir(name) == p {
			names = append(names, path.Base(name))
		}
	}
	return names, nil
}

// fakeConnection is a session of a simulated node, over that node's links.
type fakeConnection struct {
	zk      *fakeZooKeeper
	node    *simNode
	id      int64
	expired chan struct{}
	end     sync.Once
	closed  chan struct{}
	shut    sync.Once

	mu         sync.Mutex
	out, in    chan func()
	outAt      time.Time // when the last request will have arrived
	inAt       time.Time
	delivering sync.WaitGroup
}

// Connect implements connector.
func (n *simNode) Connect(ctx context.Context) (connection, error) {
	n.gate()
	if !n.reach(ctx, &n.toServer) || !n.reach(ctx, &n.toNode) {
		return nil, errLost
	}
	time.Sleep(n.world.draw(n.id+"connect", 50*time.Millisecond))
	c := &fakeConnection{
		zk: n.world.zk, node: n, id: n.world.zk.open(), expired: make(chan struct{}), closed: make(chan struct{}),
		out: make(chan func(), 1024), in: make(chan func(), 1024),
	}
	for _, pipe := range []chan func(){c.out, c.in} {
		c.delivering.Go(func() {
			for {
				select {
				case deliver := <-pipe:
					deliver()
				case <-c.closed:
					return
				}
			}
		})
	}
	return c, nil
}

func (c *fakeConnection) Session() (int64, time.Duration) { return c.id, c.zk.timeout }
func (c *fakeConnection) Expired() <-chan struct{}        { return c.expired }

func (c *fakeConnection) Close() {
	c.shut.Do(func() {
		if !c.node.isDead() && c.node.toServer.open() {
			c.zk.expire(c.id)
		}
		close(c.closed)
	})
	c.delivering.Wait()
}

// answer sends something to the node, after what was sent before.
func (c *fakeConnection) answer(key string, deliver func()) {
	c.mu.Lock()
	at := latest(c.inAt.Add(1), time.Now().Add(c.node.delay(key+"<")))
	c.inAt = at
	c.mu.Unlock()
	c.in <- func() {
		time.Sleep(time.Until(at))
		if c.node.reach(context.Background(), &c.node.toNode, c.closed) {
			c.node.gate()
			deliver()
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// request sends what is to be run at the server, and waits for the answer, for as long as a client would.
func (c *fakeConnection) request(ctx context.Context, key string, run func() error) error {
	c.node.gate()
	if c.node.isDead() {
		return errLost
	}
	time.Sleep(1 + c.node.world.draw(c.node.id+key+"turn", time.Microsecond)) // who asks at the same instant has a turn by the seed
	var mu sync.Mutex
	givenUp := false
	answered := make(chan error, 1)
	c.mu.Lock()
	at := latest(c.outAt.Add(1), time.Now().Add(c.node.delay(key+">")))
	c.outAt = at
	c.mu.Unlock()
	c.out <- func() {
		time.Sleep(time.Until(at))
		if !c.node.reach(context.Background(), &c.node.toServer, c.closed) {
			return
		}
		mu.Lock()
		dropped := givenUp && c.node.world.draw(key+"late", 2) == 0
		mu.Unlock()
		if dropped {
			return
		}
		c.zk.mu.Lock()
		alive := c.zk.touch(c.id)
		var err error
		if alive {
			err = run()
		}
		c.zk.mu.Unlock()
		c.answer(key, func() {
			if !alive {
				c.end.Do(func() { close(c.expired) })
				err = errLost
			}
			answered <- err
		})
	}
	patience, stop := c.node.After(c.zk.timeout * 2 / 3)
	defer stop()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return errLost
	case <-c.expired:
		return errLost
	case <-c.closed:
		return errLost
	case <-patience:
		mu.Lock()
		givenUp = true
		mu.Unlock()
		return errLost
	}
}

func (c *fakeConnection) Apply(ctx context.Context, changes ...change) error {
	return c.request(ctx, changes[0].path, func() error { return c.zk.apply(c.id, changes) })
}

func (c *fakeConnection) watch(p string, children bool, changed func()) {
	if changed != nil {
		c.zk.watches = append(c.zk.watches, fakeWatch{p, children, func() { c.answer(p+"!", changed) }})
	}
}

func (c *fakeConnection) Read(ctx context.Context, p string, changed func()) (znode, error) {
	found := make(chan znode, 1)
	err := c.request(ctx, p, func() error {
		c.watch(p, false, changed)
		z := c.zk.znodes[p]
		if z == nil {
			return errNoNode
		}
		found <- *z
		return nil
	})
	if err != nil {
		return znode{}, err
	}
	return <-found, nil
}

func (c *fakeConnection) List(ctx context.Context, p string, changed func()) ([]string, error) {
	found := make(chan []string, 1)
	err := c.request(ctx, p, func() error {
		c.watch(p, true, changed)
		names, err := c.zk.children(p)
		found <- names
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-found, nil
}

// spread makes a draw out of a seed and a key, however often it has been asked: it does not depend on who is asked first.
func spread(seed uint64) func(key string, most time.Duration) time.Duration {
	var mu sync.Mutex
	counts := map[string]uint64{}
	return func(key string, most time.Duration) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		counts[key]++
		h := fnv.New64a()
		h.Write([]byte(strings.Clone(key)))
		return time.Duration(mix(mix(seed^h.Sum64())+counts[key]) % uint64(max(1, most)))
	}
}
