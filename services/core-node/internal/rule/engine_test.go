package rule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func save(_ context.Context, in *Message, turn *Turn) error {
	turn.Save(telemetry.Save{Write: storage.Write{
		Entity: in.Originator, Values: []values.KeyValue{{Key: in.Type, Value: values.OfLong(1)}},
	}})
	turn.Emit(Success, in)
	return nil
}

func TestSuccessFollowsOnceDurable(t *testing.T) {
	s := newStage(t)
	var seen []string
	s.node("save", false, save)
	s.node("after", false, func(_ context.Context, in *Message, turn *Turn) error {
		seen = append(seen, in.Type)
		return nil
	})
	chain := s.chain("save", "after")
	s.start(chain, 1, "a")
	s.start(chain, 2, "b")
	if len(seen) != 0 || len(s.finished) != 0 {
		t.Fatalf("before the flush: seen %v, finished %v", seen, s.finished)
	}
	s.settle()
	if fmt.Sprint(seen) != "[a b]" {
		t.Errorf("after the flush: %v", seen)
	}
	s.want("a ok", "b ok")
}

// TestOrderPerOriginator sends messages by ways of different length: one through the store, one
// through a node that waits, one straight; all nodes must see them in the order they came.
func TestOrderPerOriginator(t *testing.T) {
	s := newStage(t)
	var mu sync.Mutex
	seen := map[byte][]string{}
	s.node("fork", false, func(_ context.Context, in *Message, turn *Turn) error {
		turn.Emit(Relation(in.Type[:1]), in)
		return nil
	})
	s.node("save", false, save)
	s.node("slow", true, func(_ context.Context, in *Message, turn *Turn) error {
		time.Sleep(time.Millisecond)
		turn.Emit(Success, in)
		return nil
	})
	s.node("last", false, func(_ context.Context, in *Message, _ *Turn) error {
		mu.Lock()
		defer mu.Unlock()
		who := in.Originator.ID[0]
		seen[who] = append(seen[who], in.Type)
		return nil
	})
	chain := s.compile(`{"type":"fork","name":"fork"},{"type":"save","name":"save"},{"type":"slow","name":"slow"},{"type":"last","name":"last"}`,
		`{"fromIndex":0,"toIndex":1,"type":"s"},{"fromIndex":0,"toIndex":2,"type":"w"},{"fromIndex":0,"toIndex":3,"type":"d"},`+
			`{"fromIndex":1,"toIndex":3,"type":"Success"},{"fromIndex":2,"toIndex":3,"type":"Success"},`)
	want := map[byte][]string{}
	for n := range 60 {
		who, name := byte(n%5), fmt.Sprintf("%c%d", "swd"[n%3], n)
		want[who] = append(want[who], name)
		s.start(chain, who, name)
	}
	s.settle()
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
	if len(s.finished) != 60 {
		t.Errorf("%d of 60 finished", len(s.finished))
	}
}

func TestASlowNodeHoldsUpItsOriginatorAlone(t *testing.T) {
	s := newStage(t)
	release := make(chan struct{})
	s.node("slow", true, func(_ context.Context, in *Message, turn *Turn) error {
		if in.Type == "first" {
			<-release
		}
		return nil
	})
	chain := s.chain("slow")
	s.start(chain, 1, "first")
	s.start(chain, 1, "second")
	s.start(chain, 2, "other")
	if err := s.engine.Resume(t.Context(), <-s.engine.Results()); err != nil {
		t.Fatal(err)
	}
	s.want("other ok")
	close(release)
	s.settle()
	s.want("other ok", "first ok", "second ok")
}

// hasty is a node that waits for nothing, whatever its kind says.
type hasty struct{ function }

func (hasty) Waits() Waits { return ForNothing }

func TestANodeMayWaitForLessThanItsKind(t *testing.T) {
	s := newStage(t)
	for class, node := range map[string]Node{"patient": function(pass{}.Process), "hasty": hasty{pass{}.Process}} {
		s.kinds = append(s.kinds, Kind{
			Class: class, Waits: ForScripts, Relations: []Relation{Success}, Default: json.RawMessage(`{}`),
			New: func(json.RawMessage, Services) (Node, error) { return node, nil },
		})
	}
	s.start(s.chain("hasty"), 1, "at once")
	s.want("at once ok")
	s.start(s.chain("patient"), 1, "later")
	s.want("at once ok")
	s.settle()
	s.want("at once ok", "later ok")
}

func TestSlotsBoundSlowNodes(t *testing.T) {
	s := newStage(t)
	var mu sync.Mutex
	at, most := 0, 0
	s.node("slow", true, func(context.Context, *Message, *Turn) error {
		mu.Lock()
		at++
		most = max(most, at)
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		at--
		mu.Unlock()
		return nil
	})
	chain := s.chain("slow")
	for n := range 20 {
		s.start(chain, byte(n), "m")
	}
	s.settle()
	if most > 2 || len(s.finished) != 20 {
		t.Errorf("%d at once in 2 slots, %d of 20 finished", most, len(s.finished))
	}
}

func TestFailures(t *testing.T) {
	boom := errors.New("boom")
	s := newStage(t)
	s.node("fail", false, func(context.Context, *Message, *Turn) error { return boom })
	s.node("panic", false, func(context.Context, *Message, *Turn) error { panic("at the disco") })
	s.node("hang", true, func(ctx context.Context, _ *Message, _ *Turn) error { <-ctx.Done(); return ctx.Err() })
	s.node("pass", false, pass{}.Process)
	s.start(s.chain("fail"), 1, "unlinked")
	s.start(s.chain("panic"), 1, "panics")
	s.start(s.chain("hang"), 1, "hangs")
	s.settle()
	s.start(s.chain("foreign"), 1, "unknown")
	s.start(s.compile(`{"type":"fail","name":"fail"},{"type":"pass","name":"pass"}`, `{"fromIndex":0,"toIndex":1,"type":"FAILURE"},`), 1, "linked")
	s.start(s.chain(slices.Repeat([]string{"pass"}, 21)...), 1, "long") // A19
	s.start(&Chain{first: none}, 1, "no entry")                         // A9
	s.want(
		`unlinked rule chain "C" node "fail": boom`,
		`panics rule chain "C" node "panic": node panicked: at the disco`,
		`hangs rule chain "C" node "hang": node did not end within 50ms`,
		`unknown rule chain "C" node "foreign": node "foreign" cannot run: its class foreign is not known`,
		`linked ok`,
		`long rule chain "C" node "pass": the message is processed by more than 20 rule nodes`,
		`no entry ok`,
	)
}

func TestOnlyTheGuiltyFailInTheStore(t *testing.T) {
	s := newStage(t)
	s.store.refuse = func(batch []storage.Write) error {
		for _, w := range batch {
			if w.Values[0].Key == "bad" {
				return fmt.Errorf("%w: bad key", storage.ErrInvalid)
			}
		}
		return nil
	}
	s.node("save", false, save)
	chain := s.chain("save")
	for _, name := range []string{"a", "bad", "b", "c", "bad", "d"} {
		s.start(chain, 1, name)
	}
	s.settle()
	const why = `bad rule chain "C" node "save": storage: invalid: bad key`
	s.want("a ok", why, "b ok", "c ok", why, "d ok")
}

func TestThePlatformsFaultIsWaitedFor(t *testing.T) {
	s := newStage(t)
	left := 3
	away := func() error {
		if left--; left >= 0 {
			return storage.ErrUnavailable
		}
		return nil
	}
	s.store.refuse = func([]storage.Write) error { return away() }
	s.node("save", false, save)
	s.node("ask", false, func(context.Context, *Message, *Turn) error { return away() })
	s.start(s.chain("save"), 1, "a")
	s.settle()
	left = 2
	s.start(s.chain("ask"), 1, "b")
	if s.waits == 0 || left >= 0 {
		t.Errorf("waited %d times, %d refusals are left", s.waits, left)
	}
	s.want("a ok", "b ok")
}

func TestARetryHoldsItsOriginator(t *testing.T) {
	s := newStage(t)
	failures := 1
	s.node("fail once", false, func(_ context.Context, in *Message, _ *Turn) error {
		if in.Type == "a" && failures > 0 {
			failures--
			return errors.New("not yet")
		}
		return nil
	})
	s.again = func(f *Flight) bool { return f.Err() != nil && f.Attempts < 2 }
	chain := s.chain("fail once")
	first := s.start(chain, 1, "a")
	s.start(chain, 1, "b")
	s.start(chain, 2, "other")
	s.want("other ok")
	if err := s.engine.Start(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	s.want("other ok", "a ok", "b ok")
}

// TestCopiesAreBounded has a node make more messages of one than it may, and others make copies while there is no room for them.
func TestCopiesAreBounded(t *testing.T) {
	s := newStage(t)
	s.engine.o.Patient = func() bool { return true } // the line before slow nodes is not what is looked at
	release := make(chan struct{})
	s.node("many", false, func(_ context.Context, in *Message, turn *Turn) error {
		for range in.Time {
			turn.Emit(Success, in)
		}
		return nil
	})
	s.node("slow", true, func(context.Context, *Message, *Turn) error {
		<-release
		return nil
	})
	chain := s.chain("many", "slow")
	split := func(originator byte, into int64) {
		f := s.flight(chain, originator, fmt.Sprint(into))
		f.Message.Time = into
		if err := s.engine.Start(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	split(1, 21) // one more than a node may make
	for n := range byte(12) {
		split(2+n, 18) // eleven of these are 198 in hand, of 200
	}
	split(20, 1) // no copy
	if s.engine.live > s.engine.o.Copies {
		t.Errorf("%d in hand, %d are allowed", s.engine.live, s.engine.o.Copies)
	}
	close(release)
	s.settle()
	failed := 0
	for _, f := range s.finished {
		if strings.Contains(f, "there is no room for 18 more") {
			failed++
		}
	}
	if s.finished[0] != `21 rule chain "C" node "many": a node made 21 messages of one, 20 are allowed` || failed != 1 || len(s.finished) != 14 {
		t.Errorf("%d failed for want of room: %q", failed, s.finished)
	}
	if s.engine.live != 0 {
		t.Errorf("%d are still in hand", s.engine.live)
	}
}

// TestMessagesThatMakeOneAnotherEnd has a node raise a message for each it is given.
func TestMessagesThatMakeOneAnotherEnd(t *testing.T) {
	s := newStage(t)
	s.node("again", false, func(_ context.Context, in *Message, turn *Turn) error {
		turn.Raise(in)
		return nil
	})
	chain := s.chain("again")
	s.start(chain, 1, "m")
	s.settle()
	for range 100 {
		if len(s.onward) == 0 {
			break
		}
		o := s.onward[0]
		s.onward = s.onward[1:]
		f := s.flight(chain, 1, "m")
		f.Executions = o.Executions
		if err := s.engine.Start(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		s.settle()
	}
	last := s.finished[len(s.finished)-1]
	if len(s.finished) != 21 || !strings.Contains(last, "more than 20 rule nodes") {
		t.Errorf("%d messages, the last: %s", len(s.finished), last)
	}
}

// TestCopiesThatGoOnHaveNamesOfTheirOwn: each has a fate of its own from then on, and the same name after a retry.
func TestCopiesThatGoOnHaveNamesOfTheirOwn(t *testing.T) {
	s := newStage(t)
	s.node("wait", false, func(_ context.Context, in *Message, turn *Turn) error {
		for range 3 {
			turn.Later(time.Now(), in)
		}
		return nil
	})
	chain := s.chain("wait")
	names := func() (all []string) {
		s.onward = nil
		f := s.flight(chain, 1, "m")
		f.Message.ID[0] = 7
		if err := s.engine.Start(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		s.settle()
		for _, o := range s.onward {
			all = append(all, fmt.Sprint(o.Message.ID))
		}
		slices.Sort(all)
		return all
	}
	first := names()
	if len(slices.Compact(slices.Clone(first))) != 3 {
		t.Errorf("names %v", first)
	}
	if diff := cmp.Diff(first, names()); diff != "" {
		t.Error(diff)
	}
}

// TestANodeGetsItsOwnMessageAgain, at its time, as often as it asks for it: these are no steps.
func TestANodeGetsItsOwnMessageAgain(t *testing.T) {
	s := newStage(t)
	place, at := [16]byte{5}, time.UnixMilli(77)
	seen := 0
	s.node("wait", true, func(_ context.Context, in *Message, turn *Turn) error {
		seen++
		turn.Again(place, at, in)
		return nil
	})
	s.node("behind", false, func(context.Context, *Message, *Turn) error {
		t.Error("it went on")
		return nil
	})
	chain := s.chain("wait", "behind")
	s.chains[chain.ID] = chain
	f := s.flight(chain, 1, "m")
	for range 3 {
		s.onward = nil
		if err := s.engine.Start(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		s.settle()
		if len(s.onward) != 1 {
			t.Fatalf("%d were kept", len(s.onward))
		}
		o := s.onward[0]
		if o.At != at || o.Place != place || !o.Yields || o.Executions != 0 {
			t.Errorf("kept %+v", o)
		}
		f = &Flight{Message: *o.Message, Position: o.Position, Executions: o.Executions}
	}
	if seen != 3 {
		t.Errorf("it was called %d times", seen)
	}
}
