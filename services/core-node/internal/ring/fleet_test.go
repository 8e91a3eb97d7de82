//go:build fleet

package ring

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The tests run nodes as processes of this test binary, so that they can be killed and stopped for real.
func TestMain(m *testing.M) {
	if id := os.Getenv("RING_TEST_NODE"); id != "" {
		if err := runNode(id); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	fleetPartitions = 24
	fleetSession    = 2 * time.Second
)

func fleetOptions(server, root, id string) Options {
	return Options{
		Settings: Settings{
			ZooKeeper: []string{server}, ZooKeeperRoot: root, ZooKeeperSession: fleetSession, ZooKeeperSettle: 150 * time.Millisecond, LeaseMargin: 700 * time.Millisecond,
		},
		Node: id, Addresses: map[string]string{"admin": id + ":9090"}, Partitions: fleetPartitions,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Metrics: prometheus.NewRegistry(),
	}
}

// event is what a node's process prints, one JSON text a line.
type event struct {
	What      string
	Partition int
	Epoch     int64
	At        int64 // Unix, ns: one machine, one clock
	Status    *Status
}

// runNode is a node's process: it acts every 5 ms on what it owns, says so, and answers "status".
func runNode(id string) error {
	z, err := Open(context.Background(), fleetOptions(os.Getenv("RING_TEST_SERVER"), os.Getenv("RING_TEST_ROOT"), id))
	if err != nil {
		return err
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	say := func(e event) {
		mu.Lock()
		defer mu.Unlock()
		e.At = time.Now().UnixNano()
		_ = out.Encode(e)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			status, err := z.Status(ctx)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			say(event{What: "status", Status: &status})
		}
	}()
	return z.Run(ctx, func(ctx context.Context, l Lease) error {
		say(event{What: "own", Partition: l.Partition(), Epoch: l.Epoch()})
		for l.Valid() {
			say(event{What: "act", Partition: l.Partition(), Epoch: l.Epoch()})
			select {
			case <-ctx.Done():
				say(event{What: "end", Partition: l.Partition(), Epoch: l.Epoch()})
				return nil
			case <-time.After(5 * time.Millisecond):
			}
		}
		say(event{What: "over", Partition: l.Partition(), Epoch: l.Epoch()})
		return nil
	}, untilEnd)
}

// machine is a node's process.
type machine struct {
	id     string
	cmd    *exec.Cmd
	stdin  io.Writer
	status chan Status
	ended  chan error
}

// world is the processes of a test, and what they did.
type world struct {
	t      *testing.T
	server string
	root   string

	mu    sync.Mutex
	first map[[2]int64]event // partition and epoch → first act
	last  map[[2]int64]event
	owner map[int]string // who acted last
	over  map[string]int // node → leases seen to be over
}

func newFleet(t *testing.T) *world {
	server := os.Getenv("SLUICE_TEST_ZOOKEEPER")
	if server == "" {
		t.Fatal("SLUICE_TEST_ZOOKEEPER must be host:port of a ZooKeeper with tickTime=200 and minSessionTimeout below 2 s")
	}
	return &world{
		t: t, server: server, root: fmt.Sprintf("/ringtest/%d", time.Now().UnixNano()),
		first: map[[2]int64]event{}, last: map[[2]int64]event{}, owner: map[int]string{}, over: map[string]int{},
	}
}

func (w *world) start(id string) *machine {
	w.t.Helper()
	m := &machine{id: id, status: make(chan Status, 1), ended: make(chan error, 1)}
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), "RING_TEST_NODE="+id, "RING_TEST_SERVER="+w.server, "RING_TEST_ROOT="+w.root)
	if testing.Verbose() {
		m.cmd.Stderr = os.Stderr
	}
	var err error
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		w.t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			w.note(m, lines.Bytes())
		}
		m.ended <- m.cmd.Wait()
	}()
	w.t.Cleanup(func() {
		_ = m.cmd.Process.Kill()
		m.ended <- <-m.ended
	})
	return m
}

func (w *world) note(m *machine, line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		return // what it says at its end
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	key := [2]int64{int64(e.Partition), e.Epoch}
	switch e.What {
	case "act":
		if _, seen := w.first[key]; !seen {
			w.first[key] = e
		}
		w.last[key] = e
		w.owner[e.Partition] = m.id
	case "over":
		w.over[m.id]++
	case "status":
		m.status <- *e.Status
	}
}

func (m *machine) ask() Status {
	_, _ = io.WriteString(m.stdin, "status\n")
	return <-m.status
}

// check fails the test when an owner acted after its successor had begun.
func (w *world) check() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	checked := 0
	for key, first := range w.first {
		for other, last := range w.last {
			if other[0] == key[0] && other[1] < key[1] {
				checked++
				if last.At > first.At {
					w.t.Errorf("partition %d: epoch %d acted %v after epoch %d had begun", key[0], other[1], time.Duration(last.At-first.At), key[1])
				}
			}
		}
	}
	w.t.Logf("%d successions checked", checked)
}

// settled waits until all partitions are owned as they are wanted, by live nodes of the given number, and returns it.
func (w *world) settled(m *machine, nodes int) Status {
	w.t.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s := m.ask()
		moving := slices.ContainsFunc(s.Partitions, func(p PartitionState) bool { return p.Owner == "" || p.Owner != p.Wanted })
		if len(s.Nodes) == nodes && len(s.Partitions) == fleetPartitions && !moving {
			return s
		}
		if time.Now().After(end) {
			w.t.Fatalf("not settled: %+v", s)
		}
	}
}

func owned(s Status, id string) (numbers []int) {
	for _, p := range s.Partitions {
		if p.Owner == id {
			numbers = append(numbers, p.Partition)
		}
	}
	return numbers
}

// taken waits until each of partitions was acted on in an epoch that began after since, by another than id, and returns when the last was.
func (w *world) taken(since time.Time, partitions []int) time.Time {
	w.t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		var latest int64
		missing := slices.Clone(partitions)
		w.mu.Lock()
		for key, first := range w.first {
			if i := slices.Index(missing, int(key[0])); i >= 0 && first.At > since.UnixNano() {
				missing = slices.Delete(missing, i, i+1)
				latest = max(latest, first.At)
			}
		}
		w.mu.Unlock()
		if len(missing) == 0 {
			return time.Unix(0, latest)
		}
	}
	w.t.Fatalf("not all of %v were taken over", partitions)
	return time.Time{}
}

// K2.
func TestEachPartitionHasOneOwnerAndAllNodesAgree(t *testing.T) {
	w := newFleet(t)
	nodes := []*machine{w.start("core-1"), w.start("core-2"), w.start("core-3")}
	want := w.settled(nodes[0], 3)
	for _, m := range nodes {
		got := m.ask()
		if fmt.Sprint(got.Partitions) != fmt.Sprint(want.Partitions) {
			t.Errorf("%s sees %v, %s %v", m.id, got.Partitions, nodes[0].id, want.Partitions)
		}
		if n := len(owned(got, m.id)); n != fleetPartitions/3 {
			t.Errorf("%s owns %d", m.id, n)
		}
	}
	if want.Nodes[0].Addresses["admin"] != want.Nodes[0].ID+":9090" || want.Nodes[0].Since.IsZero() {
		t.Errorf("node %+v", want.Nodes[0])
	}
	w.check()
}

// K3's timing. The aims are T + 250 ms after kill -9 and 200 ms after SIGTERM, on a quiet machine; the floors, on any, T + 1 s and 500 ms.
func TestTakingOverIsFast(t *testing.T) {
	w := newFleet(t)
	keep := w.start("core-1")
	w.start("core-2")
	third := w.start("core-3")
	for round := range 3 {
		before := w.settled(keep, 3)
		began := time.Now()
		if err := third.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		took := w.taken(began, owned(before, "core-3")).Sub(began)
		t.Logf("round %d: kill -9 → last partition acted on after %v", round, took)
		if took > fleetSession+time.Second {
			t.Errorf("kill -9: %v", took)
		}
		third = w.start("core-3")
		before = w.settled(keep, 3)
		began = time.Now()
		if err := third.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		took = w.taken(began, owned(before, "core-3")).Sub(began)
		t.Logf("round %d: SIGTERM → last partition acted on after %v", round, took)
		if took > 500*time.Millisecond {
			t.Errorf("SIGTERM: %v", took)
		}
		third = w.start("core-3")
	}
	w.check()
}

// K5 and F6: an owner that is stopped for longer than its lease acts on nothing when it goes on.
func TestAStoppedOwnerIsFenced(t *testing.T) {
	w := newFleet(t)
	keep := w.start("core-1")
	w.start("core-2")
	stopped := w.start("core-3")
	before := w.settled(keep, 3)
	began := time.Now()
	if err := stopped.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	took := w.taken(began, owned(before, "core-3")).Sub(began)
	t.Logf("SIGSTOP → last partition acted on after %v", took)
	time.Sleep(fleetSession / 2)
	if err := stopped.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.settled(keep, 3)
	w.mu.Lock()
	over := w.over["core-3"]
	w.mu.Unlock()
	if over == 0 {
		t.Error("the stopped node did not notice that its leases are over")
	}
	w.check()
}

// K6.
func TestASecondProcessOfOneIDIsRefused(t *testing.T) {
	w := newFleet(t)
	first := w.start("core-1")
	w.settled(first, 1)
	began := time.Now()
	second := w.start("core-1")
	err := <-second.ended
	second.ended <- err
	if took := time.Since(began); err == nil || took > fleetSession*3/2 {
		t.Errorf("the second ended with %v after %v", err, took)
	}
	// Killed, it may come back: its znode expires.
	w.settled(first, 1)
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	again := w.start("core-1")
	w.settled(again, 1)
	w.check()
}

// TB PR #1191, and worse.
func TestZnodesRemovedByHandAreMadeAgain(t *testing.T) {
	w := newFleet(t)
	keep, other := w.start("core-1"), w.start("core-2")
	before := w.settled(keep, 2)
	hand, err := dialer{fleetOptions(w.server, w.root, "hand").Settings, slog.New(slog.DiscardHandler)}.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer hand.Close()
	paths := layout(w.root)
	if err := hand.Apply(t.Context(), change{kind: remove, path: paths.node("core-2"), version: anyVersion}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(fleetSession / 2)
	if after := w.settled(keep, 2); fmt.Sprint(after.Partitions) != fmt.Sprint(before.Partitions) {
		t.Errorf("partitions moved: %v, before %v", after.Partitions, before.Partitions)
	}
	mine := owned(before, "core-2")[0]
	if err := hand.Apply(t.Context(), change{kind: remove, path: paths.lease(mine), version: anyVersion}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(fleetSession / 4)
	after := w.settled(other, 2)
	if got := after.Partitions[mine]; got.Owner != "core-2" || got.Epoch <= before.Partitions[mine].Epoch {
		t.Errorf("a lease removed by hand became %+v, before %+v", got, before.Partitions[mine])
	}
	w.check()
}

// Where ZooKeeper was emptied, epochs still grow.
func TestEpochsBeginAtTheTimeOfDay(t *testing.T) {
	w := newFleet(t)
	now := time.Now().Unix()
	for _, p := range w.settled(w.start("core-1"), 1).Partitions {
		if p.Epoch < now || p.Epoch > now+10 {
			t.Fatalf("partition %d began at epoch %d", p.Partition, p.Epoch)
		}
	}
	if !strings.HasPrefix(w.root, "/ringtest/") {
		t.Fatal(w.root)
	}
}
