//go:build fleet

package ring

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cable is the network between nodes and ZooKeeper; it can be cut so that connections break, or so that nothing gets through.
type cable struct {
	listener net.Listener
	server   string
	cut      atomic.Bool
	mute     atomic.Bool
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
}

func newCable(t *testing.T, server string) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: listener, server: server, conns: map[net.Conn]struct{}{}}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go c.carry(conn)
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		c.breakAll()
	})
	return c
}

func (c *cable) carry(node net.Conn) {
	defer node.Close()
	if c.cut.Load() {
		return
	}
	server, err := net.Dial("tcp", c.server)
	if err != nil {
		return
	}
	defer server.Close()
	c.mu.Lock()
	c.conns[node], c.conns[server] = struct{}{}, struct{}{}
	c.mu.Unlock()
	pump := func(to, from net.Conn) {
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			for c.mute.Load() {
				time.Sleep(5 * time.Millisecond)
			}
			if err != nil {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	go pump(server, node)
	pump(node, server)
}

func (c *cable) breakAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		conn.Close()
	}
	c.conns = map[net.Conn]struct{}{}
}

// tally is what a node in this process does.
type tally struct {
	owning, answering atomic.Int64
	ended             chan error
}

func (w *world) inside(ctx context.Context, server, id string) (*ZooKeeper, *tally) {
	w.t.Helper()
	z, err := Open(ctx, fleetOptions(server, w.root, id))
	if err != nil {
		w.t.Fatal(err)
	}
	n := &tally{ended: make(chan error, 1)}
	go func() {
		n.ended <- z.Run(ctx, func(ctx context.Context, l Lease) error {
			n.owning.Add(1)
			defer n.owning.Add(-1)
			<-ctx.Done()
			return nil
		}, func(ctx context.Context, _ int) error {
			n.answering.Add(1)
			defer n.answering.Add(-1)
			<-ctx.Done()
			return nil
		})
	}()
	return z, n
}

func eventually(t *testing.T, within time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !holds() {
		if time.Since(began) > within {
			t.Errorf("%s: not within %v", what, within)
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(began)
}

// F7, with sessions that ZooKeeper ends meanwhile: broken connections, and ones through which nothing comes.
func TestWithoutZooKeeperOwningEndsAndAnsweringGoesOn(t *testing.T) {
	for _, how := range []string{"cut", "mute"} {
		w := newFleet(t)
		wire := newCable(t, w.server)
		ctx, stop := context.WithCancel(t.Context())
		zs, nodes := [2]*ZooKeeper{}, [2]*tally{}
		for i := range nodes {
			zs[i], nodes[i] = w.inside(ctx, wire.listener.Addr().String(), fmt.Sprint("core-", i))
		}
		all := func() bool { return nodes[0].owning.Load() == 12 && nodes[1].owning.Load() == 12 }
		eventually(t, 5*time.Second, "owned", all)
		away := time.Now()
		if how == "cut" {
			wire.cut.Store(true)
			wire.breakAll()
		} else {
			wire.mute.Store(true)
		}
		time.Sleep(900 * time.Millisecond)
		if !all() {
			t.Errorf("%s: owning ended %v after ZooKeeper had gone", how, time.Since(away))
		}
		eventually(t, fleetSession-900*time.Millisecond, how+": owning ends", func() bool { return nodes[0].owning.Load()+nodes[1].owning.Load() == 0 })
		t.Logf("%s: owning ended after %v", how, time.Since(away))
		time.Sleep(3 * fleetSession)
		if n := nodes[0].answering.Load() + nodes[1].answering.Load(); n != fleetPartitions {
			t.Errorf("%s: %d partitions are answered for", how, n)
		}
		for _, z := range zs {
			if err := z.Ready(); err != nil {
				t.Errorf("%s: %v", how, err)
			}
		}
		wire.cut.Store(false)
		wire.mute.Store(false)
		back := eventually(t, 5*time.Second, how+": owned again", all)
		t.Logf("%s: all owned again %v after ZooKeeper was back", how, back)
		stop()
		for i, n := range nodes {
			if err := <-n.ended; err != nil {
				t.Errorf("%s: node %d ended with %v", how, i, err)
			}
		}
	}
}
