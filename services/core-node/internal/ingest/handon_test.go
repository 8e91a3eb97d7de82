package ingest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// TestAQueueThatIsNotThereIsTheMainOne: a chain that names it must not hold up the partition.
func TestAQueueThatIsNotThereIsTheMainOne(t *testing.T) {
	w := newWorld(t)
	done := make(chan struct{}, 1)
	w.chained(map[string]rule.Node{
		"checkpoint": process(func(in *rule.Message, turn *rule.Turn) { turn.Requeue("Gone", in) }),
		"behind":     process(func(*rule.Message, *rule.Turn) { done <- struct{}{} }),
	}, rule.ForNothing, "checkpoint", "behind")
	w.on("Main", 1, w.device("A"))
	w.start()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the message did not go on")
	}
	w.fated("Main", 2)
}

// TestCopiesDelayedToOneMomentAllComeBack has a node keep three copies of one message for the same moment.
func TestCopiesDelayedToOneMomentAllComeBack(t *testing.T) {
	w := newWorld(t)
	due := time.Now().Add(50 * time.Millisecond)
	var mu sync.Mutex
	seen := map[string]bool{}
	w.chained(map[string]rule.Node{
		"delay": process(func(in *rule.Message, turn *rule.Turn) {
			for range 3 {
				turn.Later(due, in)
			}
		}),
		"behind": process(func(in *rule.Message, _ *rule.Turn) {
			mu.Lock()
			defer mu.Unlock()
			seen[fmt.Sprint(in.ID)] = true
		}),
	}, rule.ForNothing, "delay", "behind")
	w.on("Main", 1, w.device("A"))
	w.start()
	w.eventually("three copies to come back", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == 3
	})
	w.halt()
	w.addsUp()
}

// TestATimerThatCannotBeReadIsADeadLetter puts a row among the timers that is no message.
func TestATimerThatCannotBeReadIsADeadLetter(t *testing.T) {
	w := newWorld(t)
	timers := newTimers(w.rows, 0, 10)
	one := timer{due: time.Now().UnixMilli(), id: ident.New()}
	hour := storage.Row{Key: timer{due: one.due / hourMillis}.key()[:8]}
	for group, row := range map[string]storage.Row{timers.directory(): hour, timers.group(one.due): {Key: one.key(), Body: []byte{0xff}}} {
		if err := w.rows.ChangeRows(t.Context(), group, []storage.Row{row}, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	w.eventually("a dead letter", func() bool { return len(w.letters()) == 1 })
	w.eventually("its row to go", func() bool {
		_, err := timers.read(context.WithoutCancel(t.Context()), one)
		return err != nil
	})
	w.halt()
	w.addsUp()
}

// TestTimersAreBounded fills them, and has the next message fail.
func TestTimersAreBounded(t *testing.T) {
	w := newWorld(t)
	w.config.Timers = 2
	w.chained(map[string]rule.Node{
		"delay": process(func(in *rule.Message, turn *rule.Turn) { turn.Later(time.Now().Add(time.Hour), in) }),
	}, rule.ForNothing, "delay")
	w.on("Main", 3, w.device("A"))
	w.start()
	w.fated("Main", 3)
	if letters := w.letters(); len(letters) != 1 || letters[0].GetError() != "hand on: "+errTooMany.Error() {
		t.Errorf("dead letters: %v", letters)
	}
}

// ticking is a source that makes one message whenever it is asked.
type ticking struct {
	tenant ident.TenantID
	of     ident.EntityID
	made   int
}

func (s *ticking) Process(context.Context, *rule.Message, *rule.Turn) error { return nil }
func (s *ticking) Originator() ident.EntityID                               { return s.of }
func (s *ticking) Tick(_ context.Context, _ []byte, turn *rule.Turn) (time.Duration, []byte, error) {
	s.made++
	turn.Emit(rule.Success, &rule.Message{ID: values.MessageID(ident.New()), Tenant: s.tenant, Originator: s.of, Type: rule.PostTelemetry, Body: rule.TextBody(`{"n":1}`)})
	return time.Hour, nil, nil
}

// TestWhatAGeneratorMakesHasItsOwnFate has the node behind a generator fail: the message it made is a dead letter.
func TestWhatAGeneratorMakesHasItsOwnFate(t *testing.T) {
	w := newWorld(t)
	of := ident.EntityID{Type: ident.RuleNode, ID: ident.New()}
	source := &ticking{tenant: w.tenant, of: of}
	fails := &actor{act: func(context.Context, string, int) error { return errBoom }}
	w.chained(map[string]rule.Node{"generator": source, "act": fails}, rule.ForNothing, "generator", "act")
	value, err := proto.Marshal(&sluicepb.CoreMessage{
		TenantId: w.tenant.ID[:], Entity: &sluicepb.EntityId{Type: of.Type, Id: of.ID[:]},
		Body: &sluicepb.CoreMessage_Source{Source: &sluicepb.SourceChanged{
			RuleChainId: w.chainID[:], RuleNodeId: nodeID(w.chainID, 0),
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.publish(bus.Message{Topic: topics.Core, Key: of.ID[:], Value: value})
	w.start()
	w.eventually("a dead letter", func() bool { return len(w.letters()) == 1 })
	w.halt()
	w.addsUp()
	if l := w.letters()[0]; l.GetError() != errBoom.Error() || l.GetTopic() != topics.RuleEngine {
		t.Errorf("dead letter %v", l)
	}
	if source.made != 1 {
		t.Errorf("it was asked %d times", source.made)
	}
}

func nodeID(chain ident.ID, place int) []byte {
	id := ident.Derive(chain, fmt.Sprintf("node %d", place))
	return id[:]
}

// TestOneIsKeptInAnothersPlace: of what is kept in one place the last goes on, at the time of the first, also when the
// process ends before that.
func TestOneIsKeptInAnothersPlace(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newWorld(t)
		due, place := time.Now().Add(500*time.Millisecond), ident.New()
		var mu sync.Mutex
		var came []int64
		w.chained(map[string]rule.Node{
			"keep": process(func(in *rule.Message, turn *rule.Turn) { turn.LaterInstead(place, due, in) }),
			"behind": process(func(in *rule.Message, _ *rule.Turn) {
				mu.Lock()
				defer mu.Unlock()
				came = append(came, in.Timestamp())
			}),
		}, rule.ForNothing, "keep", "behind")
		w.on("Main", 3, w.device("A"))
		w.start()
		w.done(3)
		if restart {
			w.halt()
			w.start()
		}
		arrived := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(came)
		}
		w.eventually("one to go on", func() bool { return arrived() > 0 })
		if time.Now().Before(due.Truncate(time.Millisecond)) {
			t.Error("it went on early")
		}
		time.Sleep(50 * time.Millisecond)
		w.halt()
		w.addsUp()
		if len(came) != 1 || came[0] != 3 {
			t.Errorf("restart %v: %d went on", restart, came)
		}
	}
}

// ringing is rows that have something happen before the next change.
type ringing struct {
	storage.Rows
	first func()
}

func (r *ringing) ChangeRows(ctx context.Context, group string, put []storage.Row, remove [][]byte, ttl time.Duration) error {
	if f := r.first; f != nil {
		r.first = nil
		f()
	}
	return r.Rows.ChangeRows(ctx, group, put, remove, ttl)
}

// TestAPlaceThatRings: what comes for a place while what was kept there goes on already is kept by itself, and not lost. Of
// what went on nothing is left.
func TestAPlaceThatRings(t *testing.T) {
	for _, meanwhile := range []bool{false, true} {
		rows := &ringing{Rows: newWorld(t).rows}
		timers := newTimers(rows, 0, 1)
		at, place := time.Now(), ident.New()
		keep := func(data string, yields bool) {
			t.Helper()
			o := rule.Onward{At: at, Place: place, Yields: yields, Message: &rule.Message{Body: rule.TextBody(data)}}
			if err := timers.keep(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		take := func() string {
			t.Helper()
			rung := timers.take(at.Add(time.Second), 10)
			if len(rung) != 1 {
				t.Fatalf("%d rang", len(rung))
			}
			value, err := timers.read(t.Context(), rung[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := timers.remove(t.Context(), rung); err != nil {
				t.Fatal(err)
			}
			var m sluicepb.RuleMessage
			if err := proto.Unmarshal(value, &m); err != nil {
				t.Fatal(err)
			}
			return string(m.GetData())
		}
		keep("1", true)
		keep("2", false)
		keep("3", true)
		ring := func() {
			if went := take(); went != "2" {
				t.Errorf("%s went on", went)
			}
		}
		if meanwhile {
			rows.first = ring
		} else {
			ring()
		}
		keep("4", false)
		if went := take(); went != "4" {
			t.Errorf("then %s went on", went)
		}
		for row := range rows.ScanRows(t.Context(), timers.group(at.UnixMilli()), nil, nil, false) {
			t.Errorf("a row is left: %q", row.Body)
		}
		if len(timers.places) != 0 {
			t.Errorf("%d places are left", len(timers.places))
		}
	}
}
