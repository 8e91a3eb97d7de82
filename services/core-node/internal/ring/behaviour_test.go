package ring

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// stage is a fleet of simulated nodes without trouble but what the test makes.
type stage struct {
	*simWorld
	t   *testing.T
	ctx context.Context
}

// played is a node on the stage.
type played struct {
	*simNode
	ring *ZooKeeper
	own  chan bool // true when one begins, false when it ends; as held
	held chan bool
	left chan error
}

func play(t *testing.T, run func(s *stage)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s := &stage{simWorld: &simWorld{draw: spread(1), began: time.Now(), log: slog.New(slog.DiscardHandler), nodes: map[string]*simNode{}}, t: t, ctx: ctx}
		s.zk = newFakeZooKeeper(simSession, s.draw)
		run(s)
		stop()
		s.running.Wait()
		s.zk.stopExpiring()
	})
}

func (s *stage) node(id string) *played {
	n := &played{simNode: &simNode{world: s.simWorld, id: id, rate: 1}, own: make(chan bool, 1000), held: make(chan bool, 1000), left: make(chan error, 1)}
	s.nodes[id] = n.simNode
	return n
}

func (s *stage) options(id string, metrics prometheus.Registerer) Options {
	return Options{
		Settings: Settings{ZooKeeper: []string{"fake:1"}, ZooKeeperRoot: "/sluice", ZooKeeperSession: simSession, ZooKeeperSettle: 150 * time.Millisecond, LeaseMargin: simMargin},
		Node:     id, Partitions: 6, Log: s.log, Metrics: metrics,
	}
}

// join opens and runs a node.
func (s *stage) join(id string, metrics prometheus.Registerer) *played {
	s.t.Helper()
	n := s.node(id)
	z, err := open(s.ctx, s.options(id, metrics), n, n)
	if err != nil {
		s.t.Fatal(err)
	}
	n.ring = z
	ctx, stop := context.WithCancel(s.ctx)
	n.stop = stop
	s.running.Go(func() {
		n.left <- z.Run(ctx, func(ctx context.Context, _ Lease) error {
			n.own <- true
			<-ctx.Done()
			n.own <- false
			return nil
		}, func(ctx context.Context, _ int) error {
			n.held <- true
			<-ctx.Done()
			n.held <- false
			return nil
		})
	})
	return n
}

// count says how many began and ended since it was asked last.
func count(c chan bool) (began, ended int) {
	synctest.Wait()
	for len(c) > 0 {
		if <-c {
			began++
		} else {
			ended++
		}
	}
	return began, ended
}

func (s *stage) expect(what string, c chan bool, began, ended int) {
	s.t.Helper()
	if b, e := count(c); b != began || e != ended {
		s.t.Errorf("%v, %s: %d began and %d ended, not %d and %d", time.Since(s.began), what, b, e, began, ended)
	}
}

// value reads a counter.
func value(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var read dto.Metric
	if err := m.Write(&read); err != nil {
		t.Fatal(err)
	}
	return read.GetCounter().GetValue()
}

// F7: while ZooKeeper is away owning ends before others could begin, answering goes on; when it is back the same nodes own the same.
func TestAnOutageEndsLeasesAndNotAnswers(t *testing.T) {
	play(t, func(s *stage) {
		metrics := prometheus.NewRegistry()
		a, b := s.join("a", metrics), s.join("b", prometheus.NewRegistry())
		time.Sleep(time.Second)
		count(a.own)
		count(b.own)
		count(a.held)
		count(b.held)
		away := time.Now()
		s.running.Go(func() { s.outage(2 * time.Minute) })
		time.Sleep(simSession - simMargin - heartbeat(simSession) - 50*time.Millisecond)
		s.expect("before its deadline an owner goes on", a.own, 0, 0)
		time.Sleep(time.Until(away.Add(simSession)))
		s.expect("a has stopped", a.own, 0, 3)
		s.expect("b has stopped", b.own, 0, 3)
		if err := a.ring.Ready(); err != nil {
			t.Errorf("an outage makes the nodes unready: %v", err)
		}
		time.Sleep(time.Until(away.Add(2*time.Minute + 2*time.Second)))
		s.expect("a owns again", a.own, 3, 0)
		s.expect("b owns again", b.own, 3, 0)
		s.expect("a answered all the time", a.held, 0, 0)
		s.expect("b answered all the time", b.held, 0, 0)
		if n := value(t, a.ring.metrics.rebalances); n != 1 {
			t.Errorf("%v rebalances", n)
		}
		if n := value(t, a.ring.metrics.handovers.WithLabelValues(goneLapsed)); n != 3 {
			t.Errorf("%v leases lapsed", n)
		}
		if a.ring.left() < time.Second {
			t.Errorf("leases last for %v", a.ring.left())
		}
	})
}

// One rebalance, however many join within the settle time; answering moves with the partition.
func TestJoinsWithinTheSettleTimeAreOneChange(t *testing.T) {
	play(t, func(s *stage) {
		a := s.join("a", prometheus.NewRegistry())
		time.Sleep(time.Second)
		s.expect("a owns all", a.own, 6, 0)
		s.expect("a answers for all", a.held, 6, 0)
		b, c := s.join("b", prometheus.NewRegistry()), s.join("c", prometheus.NewRegistry())
		time.Sleep(time.Second)
		s.expect("a gave four away", a.own, 0, 4)
		s.expect("a answers for the others no more", a.held, 0, 4)
		s.expect("b took two", b.own, 2, 0)
		s.expect("c took two", c.own, 2, 0)
		if n := value(t, a.ring.metrics.rebalances); n != 2 {
			t.Errorf("%v rebalances: a alone, then with both", n)
		}
		status, err := a.ring.Status(s.ctx)
		if err != nil || len(status.Nodes) != 3 || len(status.Partitions) != 6 {
			t.Errorf("status %+v, %v", status, err)
		}
		for _, p := range status.Partitions {
			if p.Owner == "" || p.Owner != p.Wanted || p.Epoch == 0 {
				t.Errorf("partition %+v", p)
			}
		}
		// A stop hands over at once: no settle time, no session time-out.
		c.stop()
		if err := <-c.left; err != nil {
			t.Error(err)
		}
		time.Sleep(50 * time.Millisecond)
		toA, _ := count(a.own)
		toB, _ := count(b.own)
		if toA+toB != 2 {
			t.Errorf("a took %d and b %d of the two that c had", toA, toB)
		}
		if c.ring.Ready() == nil {
			t.Error("a node that stops is ready")
		}
	})
}

// K6.
func TestAnIDInUseIsRefused(t *testing.T) {
	play(t, func(s *stage) {
		s.join("a", prometheus.NewRegistry())
		twin := s.node("a")
		if _, err := open(s.ctx, s.options("a", prometheus.NewRegistry()), twin, twin); !errors.Is(err, ErrTaken) {
			t.Errorf("a second node a: %v", err)
		}
		if waited := time.Since(s.began); waited > simSession*3/2 {
			t.Errorf("it took %v to refuse", waited)
		}
	})
}

// A time-out other than the one asked for, into which the margin does not fit.
func TestATimeoutThatLeavesNoMarginIsRefused(t *testing.T) {
	play(t, func(s *stage) {
		s.zk.timeout = 10 * time.Second
		n := s.node("a")
		if _, err := open(s.ctx, s.options("a", prometheus.NewRegistry()), n, n); !errors.Is(err, errMargin) {
			t.Errorf("opened with %v", err)
		}
	})
}

// An error of own or held ends the whole, as with Static.
func TestWhatFailsEndsTheRing(t *testing.T) {
	boom := errors.New("boom")
	play(t, func(s *stage) {
		for _, which := range []string{"own", "held"} {
			n := s.node(which)
			z, err := open(s.ctx, s.options(which, prometheus.NewRegistry()), n, n)
			if err != nil {
				t.Fatal(err)
			}
			err = z.Run(s.ctx, func(ctx context.Context, l Lease) error {
				if which == "own" && l.Partition() == 3 {
					return boom
				}
				<-ctx.Done()
				return nil
			}, func(ctx context.Context, p int) error {
				if which == "held" && p == 3 {
					return boom
				}
				<-ctx.Done()
				return nil
			})
			if !errors.Is(err, boom) {
				t.Errorf("%s: ended with %v", which, err)
			}
		}
	})
}
