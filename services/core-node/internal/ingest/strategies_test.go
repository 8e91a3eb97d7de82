package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/trace"
)

// actor is a node that notes what it is given and does as the test says.
type actor struct {
	mu   sync.Mutex
	seen []string // device:time
	act  func(ctx context.Context, call string, times int) error
	now  int // at work
	most int
}

func (a *actor) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	if in.Type != rule.PostTelemetry {
		return nil
	}
	call := fmt.Sprintf("%s:%d", in.Metadata.DeviceName, in.Timestamp())
	a.mu.Lock()
	a.seen = append(a.seen, call)
	times := 0
	for _, s := range a.seen {
		if s == call {
			times++
		}
	}
	a.now++
	a.most = max(a.most, a.now)
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.now--
		a.mu.Unlock()
	}()
	if err := a.act(ctx, call, times); err != nil {
		return err
	}
	turn.Emit(rule.Success, in)
	return nil
}

func (a *actor) calls() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.seen)
}

// chained makes the world's chain nodes of a class each, linked by Success.
func (w *world) chained(nodes map[string]rule.Node, waits rule.Waits, order ...string) {
	doc := rule.Document{RuleChain: rule.ChainEntry{Name: "C"}}
	first := 0
	doc.Metadata.FirstNodeIndex = &first
	for i, name := range order {
		doc.Metadata.Nodes = append(doc.Metadata.Nodes, rule.NodeEntry{Type: name, Name: name, Configuration: json.RawMessage(`{}`)})
		if i > 0 {
			doc.Metadata.Connections = append(doc.Metadata.Connections, rule.Connection{FromIndex: i - 1, ToIndex: i, Type: "Success"})
		}
		w.kinds = append(w.kinds, rule.Kind{
			Class: name, Name: name, Relations: []rule.Relation{rule.Success}, Default: json.RawMessage(`{}`), Waits: waits,
			New: func(json.RawMessage, rule.Services) (rule.Node, error) { return nodes[name], nil },
		})
	}
	text, err := json.Marshal(doc)
	if err != nil {
		w.t.Fatal(err)
	}
	w.chain = text
}

// on puts the readings 1 to n of each device on a queue, device by device in turn.
func (w *world) on(name string, n int, ds ...entity.Device) {
	for i := range n {
		for _, d := range ds {
			u := w.uplink(d, reading(int64(i+1), "t", telemetry.OfLong(1)))
			w.publish(bus.Message{Topic: topics.Queue(name), Key: d.ID.ID[:], Value: telemetry.AppendUplink(nil, u)})
		}
	}
}

// fated waits until n records of a queue are committed.
func (w *world) fated(name string, n int64) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d records of %s committed", n, name), func() bool {
		return w.bus.committed(topics.Queue(name), 0).offset == n
	})
	w.halt()
	w.addsUp()
}

var errBoom = errors.New("boom")

// TestQueues runs the strategies by the reference's cases (§9.5).
func TestQueues(t *testing.T) {
	fails := func(call string, times int) func(context.Context, string, int) error {
		return func(_ context.Context, c string, n int) error {
			if c == call && n <= times {
				return errBoom
			}
			return nil
		}
	}
	const always = 1 << 30
	for name, c := range map[string]struct {
		queue   queue.Queue
		sent    int
		act     func(context.Context, string, int) error
		want    []string // sorted, unless inOrder
		letters int
		inOrder bool
	}{
		"Q1 a failed message is a dead letter and the next proceeds": {
			queue: queue.Queue{Submit: queue.Burst, Processing: queue.SkipAllFailures},
			sent:  2, act: fails("A:1", always), want: []string{"A:1", "A:2"}, letters: 1, inOrder: true,
		},
		"Q3 the fifth fails every time and the others follow": {
			queue: queue.Queue{Submit: queue.SequentialByOriginator, Processing: queue.RetryFailedAndTimedOut, Retries: 3},
			sent:  7, act: fails("A:5", always), letters: 1, inOrder: true,
			want: []string{"A:1", "A:2", "A:3", "A:4", "A:5", "A:5", "A:5", "A:5", "A:6", "A:7"},
		},
		"Q5 all of a pack run again": {
			queue: queue.Queue{Submit: queue.Burst, Processing: queue.RetryAll, Retries: 3},
			sent:  3, act: fails("A:2", 1), want: []string{"A:1", "A:1", "A:2", "A:2", "A:3", "A:3"},
		},
		"Q11 what is final is not tried again": {
			queue: queue.Queue{Submit: queue.Burst, Processing: queue.RetryFailed, Retries: 3},
			sent:  1, act: fails("A:1", always), want: []string{"A:1"}, letters: 1,
		},
		"Q12 more than the percentage failed": {
			queue: queue.Queue{Submit: queue.Burst, Processing: queue.RetryFailed, Retries: 3, FailurePercentage: 50},
			sent:  3, act: func(_ context.Context, c string, _ int) error {
				if c != "A:1" {
					return errBoom
				}
				return nil
			}, want: []string{"A:1", "A:2", "A:3"}, letters: 2,
		},
		"Q12 not more than the percentage failed": {
			queue: queue.Queue{Submit: queue.Burst, Processing: queue.RetryFailed, Retries: 3, FailurePercentage: 50},
			sent:  3, act: fails("A:2", 1), want: []string{"A:1", "A:2", "A:2", "A:3"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.queue.Name, c.queue.Timeout, c.queue.Pause, c.queue.MaxPause = "Q", time.Minute, time.Millisecond, time.Millisecond
			if c.queue.Retries == 0 {
				c.queue.Retries = queue.Unlimited
			}
			w.queues = append(w.queues, c.queue)
			a := &actor{act: c.act}
			order := []string{"act"}
			nodes := map[string]rule.Node{"act": a, "final": final{}}
			if name[:3] == "Q11" {
				order = []string{"final", "act"}
			}
			w.chained(nodes, rule.ForNothing, order...)
			w.on("Q", c.sent, w.device("A"))
			w.start()
			w.fated("Q", int64(c.sent))
			got := a.calls()
			if !c.inOrder {
				slices.Sort(got)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if n := len(w.letters()); n != c.letters {
				t.Errorf("%d dead letters, want %d", n, c.letters)
			}
		})
	}
}

type final struct{}

func (final) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	turn.Final()
	turn.Emit(rule.Success, in)
	return nil
}

func TestQ2_SequentialByOriginator(t *testing.T) {
	w := newWorld(t)
	a := &actor{act: func(context.Context, string, int) error {
		time.Sleep(100 * time.Microsecond)
		return nil
	}}
	w.chained(map[string]rule.Node{"one": a, "two": pass{}, "three": pass{}}, rule.ForOutside, "one", "two", "three")
	first, second := w.device("A"), w.device("B")
	w.on("SequentialByOriginator", 100, first, second)
	w.start()
	w.fated("SequentialByOriginator", 200)
	next := map[string]int{"A": 1, "B": 1}
	for _, call := range a.calls() {
		if want := fmt.Sprintf("%s:%d", call[:1], next[call[:1]]); call != want {
			t.Fatalf("%s came when %s was due", call, want)
		}
		next[call[:1]]++
	}
	if a.most < 2 {
		t.Error("the two devices never ran side by side")
	}
}

type pass struct{}

func (pass) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	turn.Emit(rule.Success, in)
	return nil
}

func TestQ7_BatchesOfTwo(t *testing.T) {
	w := newWorld(t)
	w.queues = append(w.queues, queue.Queue{Name: "Q", Submit: queue.Batch, BatchSize: 2, Processing: queue.SkipAllFailures, Timeout: time.Minute})
	arrived, release := make(chan string, 5), make(chan struct{})
	a := &actor{act: func(_ context.Context, call string, _ int) error {
		arrived <- call
		<-release
		return nil
	}}
	w.chained(map[string]rule.Node{"act": a}, rule.ForOutside, "act")
	for i := range 5 {
		w.on("Q", 1, w.device(fmt.Sprint(i)))
	}
	w.start()
	for _, size := range []int{2, 2, 1} {
		for range size {
			<-arrived
		}
		select {
		case call := <-arrived:
			t.Fatalf("%s came before the batch of %d was done with", call, size)
		case <-time.After(20 * time.Millisecond):
		}
		for range size {
			release <- struct{}{}
		}
	}
	w.fated("Q", 5)
}

// TestQ8_WhatIsLateDoesNoMore has a message take longer than its queue allows: it is tried again, and its first copy stops.
func TestQ8_WhatIsLateDoesNoMore(t *testing.T) {
	w := newWorld(t)
	w.config.NodeTimeout = time.Minute
	w.queues = append(w.queues, queue.Queue{
		Name: "Q", Submit: queue.Burst, Processing: queue.RetryTimedOut, Retries: 3, Timeout: 50 * time.Millisecond,
	})
	release := make(chan struct{})
	slow := &actor{act: func(_ context.Context, _ string, times int) error {
		if times == 1 {
			<-release
		}
		return nil
	}}
	after := &actor{act: func(context.Context, string, int) error { return nil }}
	w.chained(map[string]rule.Node{"slow": slow, "after": after}, rule.ForOutside, "slow", "after")
	w.on("Q", 1, w.device("A"))
	w.start()
	w.eventually("the second try to be through", func() bool { return len(after.calls()) == 1 })
	close(release)
	w.fated("Q", 1)
	if n := len(after.calls()); n != 1 {
		t.Errorf("the node behind ran %d times", n)
	}
}

// TestStandingInLineIsNotLate has many messages wait for few slots, far longer than their queue allows one to take: all are done with.
func TestStandingInLineIsNotLate(t *testing.T) {
	w := newWorld(t)
	w.config.NodeTimeout = time.Minute
	w.queues = append(w.queues, queue.Queue{Name: "Q", Submit: queue.Burst, Processing: queue.SkipAllFailures, Timeout: 500 * time.Millisecond})
	slow := &actor{act: func(context.Context, string, int) error {
		time.Sleep(100 * time.Millisecond)
		return nil
	}}
	w.chained(map[string]rule.Node{"slow": slow}, rule.ForOutside, "slow")
	const messages = 50 // two at a time: a tenant has half of the slots
	w.on("Q", messages/5, w.device("A"), w.device("B"), w.device("C"), w.device("D"), w.device("E"))
	w.start()
	w.fated("Q", messages)
	if done, letters := len(slow.calls()), w.letters(); done != messages || len(letters) > 0 {
		t.Errorf("%d of %d were worked on, %d dead letters", done, messages, len(letters))
	}
}

// TestAStopBeginsNothing has many messages stand in line when the partition is given up: those at work are finished, the others
// given back as they were, and done with by the next owner.
func TestAStopBeginsNothing(t *testing.T) {
	w := newWorld(t)
	w.config.NodeTimeout, w.config.DrainTimeout = time.Minute, time.Minute
	release := make(chan struct{})
	slow := &actor{act: func(context.Context, string, int) error {
		<-release
		return nil
	}}
	after := &actor{act: func(context.Context, string, int) error { return nil }}
	w.chained(map[string]rule.Node{"slow": slow, "after": after}, rule.ForOutside, "slow", "after")
	var devices []entity.Device
	for i := range 50 {
		devices = append(devices, w.device(fmt.Sprint("D", i)))
	}
	w.on(topics.MainQueue, 1, devices...)
	w.start()
	w.eventually("two at work", func() bool { return len(slow.calls()) == 2 })
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	w.halt()
	if begun, through := len(slow.calls()), len(after.calls()); begun != 2 || through != 2 {
		t.Errorf("%d were begun and %d are through, want 2", begun, through)
	}
	w.start()
	w.fated(topics.MainQueue, int64(len(devices)))
	if n := len(w.letters()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestAStopEndsWhatHadEffects: a message on which a node with effects has worked is finished, though it stands in line.
func TestAStopEndsWhatHadEffects(t *testing.T) {
	w := newWorld(t)
	w.config.NodeTimeout, w.config.DrainTimeout = time.Minute, time.Minute
	release := make(chan struct{})
	effect := &actor{act: func(context.Context, string, int) error { return nil }}
	slow := &actor{act: func(context.Context, string, int) error {
		<-release
		return nil
	}}
	w.chained(map[string]rule.Node{"effect": effect, "slow": slow}, rule.ForOutside, "effect", "slow")
	w.kinds[len(w.kinds)-2].Waits = rule.ForNothing
	w.on(topics.MainQueue, 1, w.device("A"), w.device("B"), w.device("C"), w.device("D"), w.device("E"))
	w.start()
	w.eventually("two at work, all touched", func() bool { return len(slow.calls()) == 2 && len(effect.calls()) == 5 })
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	w.halt()
	if touched, ended := len(effect.calls()), len(slow.calls()); touched != 5 || ended != 5 {
		t.Errorf("%d were touched and %d ended", touched, ended)
	}
	w.addsUp()
}

// TestQ6_OnlyWhatTimedOut has one message fail and one take too long: only that is tried again.
func TestQ6_OnlyWhatTimedOut(t *testing.T) {
	w := newWorld(t)
	w.config.NodeTimeout = time.Minute
	w.queues = append(w.queues, queue.Queue{
		Name: "Q", Submit: queue.Burst, Processing: queue.RetryTimedOut, Retries: 3, Timeout: 50 * time.Millisecond,
	})
	release := make(chan struct{})
	a := &actor{act: func(_ context.Context, call string, times int) error {
		switch {
		case call == "A:1":
			return errBoom
		case times == 1:
			<-release
		}
		return nil
	}}
	w.chained(map[string]rule.Node{"act": a}, rule.ForOutside, "act")
	w.on("Q", 1, w.device("A"), w.device("B"))
	w.start()
	w.eventually("the second try", func() bool { return len(a.calls()) == 3 })
	close(release)
	w.fated("Q", 2)
	got := a.calls()
	slices.Sort(got)
	if diff := cmp.Diff([]string{"A:1", "B:1", "B:1"}, got); diff != "" {
		t.Error(diff)
	}
	if n := len(w.letters()); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

// TestQ10_Checkpoint puts a message on another queue, where it goes on behind the node.
func TestQ10_Checkpoint(t *testing.T) {
	w := newWorld(t)
	var queues []string
	behind := process(func(in *rule.Message, _ *rule.Turn) { queues = append(queues, in.Queue) })
	w.chained(map[string]rule.Node{
		"before": pass{}, "checkpoint": process(func(in *rule.Message, turn *rule.Turn) { turn.Requeue("HighPriority", in) }),
		"behind": behind,
	}, rule.ForNothing, "before", "checkpoint", "behind")
	w.on("Main", 1, w.device("A"))
	w.start()
	w.eventually("the main queue's record committed", func() bool { return w.bus.committed(topics.RuleEngine, 0).offset == 1 })
	w.fated("HighPriority", 1)
	if diff := cmp.Diff([]string{"HighPriority"}, queues); diff != "" {
		t.Error(diff)
	}
}

type process func(in *rule.Message, turn *rule.Turn)

func (f process) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	if in.Type == rule.PostTelemetry {
		f(in, turn)
	}
	return nil
}

// TestDelayedOverARestart keeps a message for later, and stops before it is due: the next owner goes on with it.
func TestDelayedOverARestart(t *testing.T) {
	w := newWorld(t)
	due := time.Now().Add(300 * time.Millisecond)
	var mu sync.Mutex
	var came []time.Time
	w.chained(map[string]rule.Node{
		"delay": process(func(in *rule.Message, turn *rule.Turn) { turn.Later(due, in) }),
		"behind": process(func(in *rule.Message, _ *rule.Turn) {
			mu.Lock()
			defer mu.Unlock()
			came = append(came, time.Now())
		}),
	}, rule.ForNothing, "delay", "behind")
	w.on("Main", 1, w.device("A"))
	w.start()
	w.done(1)
	w.halt()
	w.start()
	arrived := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(came)
	}
	w.eventually("the message to go on", func() bool { return arrived() == 1 })
	if came[0].Before(due.Truncate(time.Millisecond)) {
		t.Errorf("it went on %v early", due.Sub(came[0]))
	}
	w.eventually("its row to go", func() bool {
		for range w.rows.ScanRows(t.Context(), fmt.Sprintf("timer/0/%d", due.UnixMilli()/hourMillis), nil, nil, false) {
			return false
		}
		return true
	})
	w.halt()
	w.start()
	time.Sleep(50 * time.Millisecond)
	w.halt()
	if n := arrived(); n != 1 {
		t.Errorf("it went on %d times", n)
	}
}

// TestWhatBecameOfMessages asks for the path of messages that ended well and badly.
func TestWhatBecameOfMessages(t *testing.T) {
	w := newWorld(t)
	a := &actor{act: func(_ context.Context, call string, _ int) error {
		if call == "A:2" {
			return errBoom
		}
		return nil
	}}
	w.config.Trace = trace.Settings{Messages: 10, Failures: 10}
	w.chained(map[string]rule.Node{"first": pass{}, "act": a}, rule.ForNothing, "first", "act")
	d := w.device("A")
	w.on("Main", 2, d)
	w.start()
	w.done(2)
	w.tell(d, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_Trace{Trace: &sluicepb.TraceRequest{Limit: 10}}})
	answer := w.answer()
	w.halt()
	var got []trace.Message
	if err := json.Unmarshal(answer.GetDocument(), &got); err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, m := range got {
		if m.Type != rule.PostTelemetry {
			continue
		}
		line := fmt.Sprintf("%s %s", m.Fate, m.Error)
		for _, s := range m.Path {
			line += fmt.Sprintf(" %s/%s>%s%s", s.Chain, s.Node, s.Relation, s.Error)
		}
		shown = append(shown, line)
	}
	if diff := cmp.Diff([]string{
		"DEAD_LETTER boom C/first>Success C/act>Failureboom", "PROCESSED  C/first>Success C/act>Success",
	}, shown); diff != "" {
		t.Error(diff)
	}
}
