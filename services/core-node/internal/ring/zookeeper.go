package ring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// Options are what a node brings to the ring.
type Options struct {
	Settings   Settings
	Node       string            // id, unique in the fleet
	Addresses  map[string]string // shown to operators, such as admin → host:port
	Partitions int               // the same on every node
	Log        *slog.Logger
	Metrics    prometheus.Registerer
}

// ZooKeeper is the ring of a fleet whose nodes meet in ZooKeeper. Safe for concurrent use.
type ZooKeeper struct {
	options   Options
	layout    layout
	connector connector
	clock     clock
	log       *slog.Logger
	metrics   *metrics
	self      []byte // the content of our znode

	mu      sync.Mutex
	session *session // the present one, nil between two
	keepers []*keeper
	// trouble is why this node alone is out of the ring, nil if it is not.
	trouble atomic.Pointer[error]
}

// ErrTaken is what Open and Run end with when another live process has the node's id.
var ErrTaken = errors.New("another process has this node id")

// Open connects and registers the node. It waits for ZooKeeper until ctx ends, and at most the session's time-out (and
// a fifth) for the znode of a predecessor that was killed; ErrTaken if that stays. Run must follow, or Close.
func Open(ctx context.Context, o Options) (*ZooKeeper, error) {
	if err := o.Settings.Validate(); err != nil {
		return nil, err
	}
	return open(ctx, o, dialer{o.Settings, o.Log}, system{})
}

func open(ctx context.Context, o Options, c connector, now clock) (*ZooKeeper, error) {
	if o.Node == "" || strings.Contains(o.Node, "/") || o.Node == "." || o.Node == ".." {
		return nil, fmt.Errorf("%q: %w", o.Node, errNodeID)
	}
	if o.Partitions <= 0 {
		return nil, fmt.Errorf("open the ring: %d partitions", o.Partitions)
	}
	self, err := json.Marshal(Node{ID: o.Node, Addresses: o.Addresses, Since: now.Now().UTC().Truncate(time.Millisecond)})
	if err != nil {
		return nil, fmt.Errorf("encode the node: %w", err)
	}
	z := &ZooKeeper{
		options: o, layout: layout(o.Settings.ZooKeeperRoot), connector: c, clock: now,
		log: o.Log.With("node", o.Node), self: self,
	}
	if _, err := z.join(ctx); err != nil {
		return nil, fmt.Errorf("join the ring: %w", err)
	}
	z.metrics = newMetrics(o.Metrics, z.left)
	return z, nil
}

// join opens a session and registers in it.
func (z *ZooKeeper) join(ctx context.Context) (*session, error) {
	for {
		s, err := z.connect(ctx)
		if err != nil {
			return nil, err
		}
		if err = s.register(ctx); err == nil {
			z.mu.Lock()
			z.session = s
			z.mu.Unlock()
			z.trouble.Store(nil)
			return s, nil
		}
		over := s.ctx.Err() != nil && ctx.Err() == nil
		s.close()
		if !over {
			return nil, err
		}
	}
}

func (z *ZooKeeper) connect(ctx context.Context) (*session, error) {
	conn, err := z.connector.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to ZooKeeper: %w", err)
	}
	id, timeout := conn.Session()
	if err := z.options.Settings.fits(timeout); err != nil {
		conn.Close()
		return nil, fmt.Errorf("ZooKeeper grants a session time-out of %v: %w", timeout, err)
	}
	z.log.Info("session with ZooKeeper", "session", sessionName(id), "timeout", timeout)
	return newSession(z, conn, id, timeout), nil
}

// Run implements Ring.
func (z *ZooKeeper) Run(ctx context.Context, own Own, held Held) error {
	group, ctx := errgroup.WithContext(ctx)
	var keeping sync.WaitGroup
	z.mu.Lock()
	for p := range z.options.Partitions {
		k := &keeper{z: z, partition: p, own: own, held: held, spawn: group.Go, log: z.log.With("partition", p)}
		k.current = newDesire(nil, false)
		z.keepers = append(z.keepers, k)
	}
	z.mu.Unlock()
	for _, k := range z.keepers {
		keeping.Add(1)
		group.Go(func() error {
			defer keeping.Done()
			return k.run(ctx)
		})
	}
	drained := make(chan struct{})
	group.Go(func() error {
		keeping.Wait()
		close(drained)
		return nil
	})
	group.Go(func() error { return z.follow(ctx, drained) })
	return group.Wait()
}

// follow keeps one session after the other until ctx ends and the keepers have drained.
func (z *ZooKeeper) follow(ctx context.Context, drained <-chan struct{}) error {
	z.mu.Lock()
	s := z.session
	z.mu.Unlock()
	for {
		err := s.serve(ctx, drained)
		z.mu.Lock()
		z.session = nil
		z.mu.Unlock()
		if err != nil || ctx.Err() != nil {
			return err
		}
		z.metrics.sessionsLost.Inc()
		z.log.Warn("the session with ZooKeeper is over: all partitions are taken again", "session", sessionName(s.id))
		if s, err = z.join(ctx); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // told to stop while it was joining
			}
			return fmt.Errorf("join the ring again: %w", err)
		}
	}
}

// Close ends the session of a ring that is not run.
func (z *ZooKeeper) Close() {
	z.mu.Lock()
	s := z.session
	z.session = nil
	z.mu.Unlock()
	if s != nil {
		s.close()
	}
}

// Ready returns nil, or why this node, and not all of them, should get no requests: its id is taken, or it is
// stopping. That ZooKeeper is away is no reason: it is away from all nodes, and each still answers REST from the store.
func (z *ZooKeeper) Ready() error {
	if err := z.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

func (z *ZooKeeper) troubled(err error) { z.trouble.Store(&err) }

// left is how long the leases last without another proof that the session lives.
func (z *ZooKeeper) left() time.Duration {
	z.mu.Lock()
	s := z.session
	z.mu.Unlock()
	if s == nil {
		return 0
	}
	return s.terms.left()
}

// assign tells the keepers what belongs to this node among members; with gains only, none gives up what it has.
func (z *ZooKeeper) assign(s *session, members []string, gainsOnly bool) {
	owners := Assign(z.options.Partitions, members)
	for p, k := range z.keepers {
		wanted := p < len(owners) && owners[p] == z.options.Node
		if wanted || !gainsOnly {
			k.desire(s, wanted)
		}
	}
}

// detach tells the keepers that there is no session.
func (z *ZooKeeper) detach() {
	for _, k := range z.keepers {
		k.desire(nil, false)
	}
}
