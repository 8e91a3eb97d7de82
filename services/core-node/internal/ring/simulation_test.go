package ring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The simulator runs whole fleets in fake time against fakeZooKeeper, through schedules of trouble made from a seed, and checks
//
//   - that no two nodes act on a partition at once, where an act begins after Valid and lasts as long as a request may;
//   - that epochs grow with every taking, and that nobody acts in an older one than has acted;
//   - that when the trouble has ended, every partition is soon processed by the node it belongs to.
//
// SLUICE_RING_SCHEDULES is how many schedules are run, SLUICE_RING_SEED the seed of the only one. A seed makes the same trouble and the
// same delays each time; goroutines that wake at the same instant run in any order, so a rare failure may need -count to come again.
const (
	simSession    = 2 * time.Second
	simMargin     = 700 * time.Millisecond
	simAllowance  = simMargin - simSession/6
	simPartitions = 5
	simTrouble    = 20 * time.Second
	simRecovery   = 3 * simSession
	simSchedules  = 50
)

func TestNeverTwoOwnersAct(t *testing.T) {
	schedules, first := number(t, "SLUICE_RING_SCHEDULES", simSchedules), uint64(1)
	if seed := number(t, "SLUICE_RING_SEED", 0); seed != 0 {
		schedules, first = 1, uint64(seed)
	}
	var acts, takings int
	for i := range schedules {
		seed := first + uint64(i)
		var violations []string
		synctest.Test(t, func(t *testing.T) {
			w := simulate(t.Context(), seed, simAllowance)
			acts, takings, violations = acts+w.acts, takings+w.takings, w.violations
		})
		for _, violation := range violations {
			t.Errorf("%s (again: SLUICE_RING_SEED=%d go test -run %s -v ./services/core-node/internal/ring)", violation, seed, t.Name())
		}
		if len(violations) > 0 {
			return
		}
	}
	t.Logf("%d schedules, %d takings, %d acts", schedules, takings, acts)
	if takings < schedules*simPartitions || acts < 10*takings/simPartitions {
		t.Errorf("hardly anything happened: %d takings, %d acts", takings, acts)
	}
}

// TestTheSimulatorNotices: acts that last longer than the margin allows are found out, and the seed finds them again.
func TestTheSimulatorNotices(t *testing.T) {
	broken := func(seed uint64) (found bool) {
		synctest.Test(t, func(t *testing.T) {
			found = len(simulate(t.Context(), seed, simMargin+simSession/4).violations) > 0
		})
		return found
	}
	for seed := uint64(1); seed <= 200; seed++ {
		if !broken(seed) {
			continue
		}
		for range 5 {
			if broken(seed) {
				return
			}
		}
		t.Errorf("seed %d does not replay", seed)
	}
	t.Error("acts that are too long go unnoticed")
}

func number(t *testing.T, variable string, otherwise int) int {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// simWorld is one fleet.
type simWorld struct {
	allowance time.Duration // an act's longest
	zk        *fakeZooKeeper
	draw      func(key string, most time.Duration) time.Duration
	began     time.Time
	log       *slog.Logger
	slow      link // closed while requests are slow

	mu         sync.Mutex
	nodes      map[string]*simNode // the present process of each id
	running    sync.WaitGroup
	acting     map[int]*simNode
	lastAct    map[int]time.Time
	lastActor  map[int]string
	epochs     map[int]int64
	acted      map[int]int64
	acts       int
	takings    int
	violations []string
}

// link is one direction of a connection, or anything else that is open or not.
type link struct {
	mu   sync.Mutex
	heal chan struct{} // nil while it is open
}

func (l *link) set(open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case open && l.heal != nil:
		close(l.heal)
		l.heal = nil
	case !open && l.heal == nil:
		l.heal = make(chan struct{})
	}
}

func (l *link) closed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heal
}

func (l *link) open() bool { return l.closed() == nil }

// simNode is one process: its clock, its links, and whether it runs. It implements clock and connector.
type simNode struct {
	world    *simWorld
	id       string
	rate     float64
	toServer link
	toNode   link
	running  link
	stop     context.CancelFunc
	ended    chan struct{}
	mu       sync.Mutex
	dead     bool
}

func (n *simNode) Now() time.Time {
	return n.world.began.Add(time.Duration(float64(time.Since(n.world.began)) * n.rate))
}

func (n *simNode) After(d time.Duration) (<-chan time.Time, func() bool) {
	passed := make(chan time.Time, 1)
	t := time.AfterFunc(time.Duration(float64(d)/n.rate), func() {
		n.gate()
		passed <- n.Now()
	})
	return passed, t.Stop
}

// gate is where a stopped process stands still.
func (n *simNode) gate() {
	for !n.isDead() {
		resumed := n.running.closed()
		if resumed == nil {
			return
		}
		<-resumed
	}
}

// reach waits until l is open; false when ctx or closed ended first, or the process died.
func (n *simNode) reach(ctx context.Context, l *link, closed ...<-chan struct{}) bool {
	var ended <-chan struct{}
	if len(closed) > 0 {
		ended = closed[0]
	}
	for !n.isDead() {
		heal := l.closed()
		if heal == nil {
			return true
		}
		select {
		case <-heal:
		case <-ended:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return false
}

func (n *simNode) delay(key string) time.Duration {
	most := 3 * time.Millisecond
	if !n.world.slow.open() {
		most = 400 * time.Millisecond
	}
	return n.world.draw(n.id+key, most)
}

func (n *simNode) isDead() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dead
}

// kill ends the process as kill -9 does: nothing of it reaches the server any more.
func (n *simNode) kill() {
	n.mu.Lock()
	n.dead = true
	n.mu.Unlock()
	n.running.set(true)
	n.toServer.set(true)
	n.toNode.set(true)
	n.stop()
}

// boot starts a process under id.
func (w *simWorld) boot(ctx context.Context, id string) *simNode {
	n := &simNode{world: w, id: id, ended: make(chan struct{})}
	n.rate = 0.99 + 0.02*float64(w.draw(id+"rate", 1000))/1000
	ctx, n.stop = context.WithCancel(ctx)
	w.running.Go(func() {
		defer close(n.ended)
		o := Options{
			Settings: Settings{ZooKeeper: []string{"fake:1"}, ZooKeeperRoot: "/fleet/a", ZooKeeperSession: simSession, ZooKeeperSettle: 150 * time.Millisecond, LeaseMargin: simMargin},
			Node:     id, Partitions: simPartitions, Log: w.log, Metrics: prometheus.NewRegistry(),
		}
		z, err := open(ctx, o, n, n)
		for errors.Is(err, ErrTaken) && ctx.Err() == nil { // as a supervisor would
			z, err = open(ctx, o, n, n)
		}
		if err == nil {
			err = z.Run(ctx, n.own, untilEnd)
		}
		if err != nil && ctx.Err() == nil && !n.isDead() {
			w.violate("%s ended with %v", id, err)
		}
	})
	return n
}

func (w *simWorld) violate(format string, values ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := fmt.Sprintf("%v: %s", time.Since(w.began), fmt.Sprintf(format, values...))
	w.log.Error(text)
	w.violations = append(w.violations, text)
}

// own acts until it may not, as the owner of a partition does.
func (n *simNode) own(ctx context.Context, l Lease) error {
	w, p := n.world, l.Partition()
	w.mu.Lock()
	w.takings++
	grown := l.Epoch() > w.epochs[p]
	w.epochs[p] = max(w.epochs[p], l.Epoch())
	w.mu.Unlock()
	if !grown && l.Valid() {
		w.violate("%s owns %d in epoch %d, which is not new", n.id, p, l.Epoch())
	}
	for n.gate(); ctx.Err() == nil && !n.isDead() && l.Valid(); n.gate() {
		w.mu.Lock()
		other, older := w.acting[p], w.acted[p] > l.Epoch()
		w.acting[p], w.lastActor[p], w.acted[p] = n, n.id, max(w.acted[p], l.Epoch())
		w.acts++
		w.mu.Unlock()
		if other != nil {
			w.violate("%s and %s act on %d", other.id, n.id, p)
		}
		if older {
			w.violate("%s acts on %d in epoch %d, after a later one", n.id, p, l.Epoch())
		}
		time.Sleep(1 + w.draw(n.id+strconv.Itoa(p)+"act", w.allowance)) // on the wire: no pause of the process stops it
		w.mu.Lock()
		if w.acting[p] == n {
			delete(w.acting, p)
		}
		w.lastAct[p] = time.Now()
		w.mu.Unlock()
		pause(ctx, n, w.draw(n.id+strconv.Itoa(p)+"rest", 100*time.Millisecond), nil)
	}
	return nil
}

// simulate runs one schedule.
func simulate(ctx context.Context, seed uint64, allowance time.Duration) *simWorld {
	w := &simWorld{
		allowance: allowance, draw: spread(seed), began: time.Now(), nodes: map[string]*simNode{}, log: slog.New(slog.DiscardHandler),
		acting: map[int]*simNode{}, lastAct: map[int]time.Time{}, lastActor: map[int]string{}, epochs: map[int]int64{}, acted: map[int]int64{},
	}
	if os.Getenv("SLUICE_RING_SEED") != "" {
		w.log = slog.New(slog.NewTextHandler(os.Stdout, nil))
	}
	w.zk = newFakeZooKeeper(simSession, w.draw)
	ctx, stop := context.WithCancel(ctx)
	for _, id := range []string{"a", "b", "c"} {
		w.nodes[id] = w.boot(ctx, id)
	}
	w.trouble(ctx, rand.New(rand.NewPCG(seed, 1)))
	time.Sleep(simRecovery)
	w.checkRecovered()
	stop()
	w.running.Wait()
	w.zk.stopExpiring()
	return w
}

// trouble makes what the seed says, and in the end heals all.
func (w *simWorld) trouble(ctx context.Context, r *rand.Rand) {
	var handAt time.Time
	var healing sync.WaitGroup
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(r.Int64N(int64(most-least)))
	}
	for end := time.Now().Add(simTrouble); time.Now().Before(end); time.Sleep(between(10*time.Millisecond, 3*time.Second)) {
		id := []string{"a", "b", "c"}[r.IntN(3)]
		n, kind := w.nodes[id], r.IntN(9)
		w.log.Info("trouble", "kind", kind, "node", id, "at", time.Since(w.began))
		shut := func(most time.Duration, links ...*link) {
			for _, l := range links {
				l.set(false)
			}
			d := between(5*time.Millisecond, most)
			healing.Go(func() {
				time.Sleep(d)
				for _, l := range links {
					l.set(true)
				}
			})
		}
		switch kind {
		case 0:
			shut(2*simSession, &n.running)
		case 1:
			shut(2*simSession, &n.toServer)
		case 2:
			shut(2*simSession, &n.toNode)
		case 3:
			shut(2*simSession, &n.toServer, &n.toNode)
		case 4:
			shut(simSession, &w.slow)
		case 5: // ZooKeeper is away and comes back
			w.outage(between(10*time.Millisecond, 3*simSession))
		case 6: // by hand, one znode at a time, after the last was restored or its session has gone
			if time.Since(handAt) > 3*simSession {
				handAt = time.Now()
				w.removeByHand([]string{layout("/fleet/a").node(id), layout("/fleet/a").lease(r.IntN(simPartitions))}[r.IntN(2)])
			}
		case 7: // kill -9 and a new process
			n.kill()
			time.Sleep(between(1, simSession))
			w.nodes[id] = w.boot(ctx, id)
		case 8: // SIGTERM and a new process
			n.stop()
			<-n.ended
			time.Sleep(between(1, simSession))
			w.nodes[id] = w.boot(ctx, id)
		}
	}
	healing.Wait()
}

// outage takes ZooKeeper away from all for d; its sessions do not age meanwhile, and have their whole time after.
func (w *simWorld) outage(d time.Duration) {
	w.zk.stopExpiring()
	for _, n := range w.nodes {
		n.toServer.set(false)
	}
	time.Sleep(d)
	w.zk.restarted()
	for _, n := range w.nodes {
		n.toServer.set(true)
	}
}

func (w *simWorld) removeByHand(p string) {
	w.zk.mu.Lock()
	defer w.zk.mu.Unlock()
	if w.zk.znodes[p] != nil {
		w.zk.remove(p)
	}
}

func (w *simWorld) checkRecovered() {
	w.mu.Lock()
	ids := []string{"a", "b", "c"}
	owners := Assign(simPartitions, ids)
	var complaints []string
	for p := range simPartitions {
		if since := time.Since(w.lastAct[p]); since > 2*simAllowance+200*time.Millisecond {
			complaints = append(complaints, fmt.Sprintf("nobody acts on %d since %v", p, since))
		}
		if w.lastActor[p] != owners[p] {
			complaints = append(complaints, fmt.Sprintf("%s acts on %d, which belongs to %s", w.lastActor[p], p, owners[p]))
		}
	}
	w.mu.Unlock()
	for _, c := range slices.Compact(complaints) {
		w.violate("%s", c)
	}
}
