package rule

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
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage runs an engine over nodes the test writes as functions.
type stage struct {
	t        *testing.T
	engine   *Engine
	store    *sink
	kinds    []Kind
	finished []string
	again    func(*Flight) bool
	waits    int
}

// sink is a store that takes what it does not refuse.
type sink struct {
	storage.Telemetry
	refuse func([]storage.Write) error
}

func (s *sink) Write(_ context.Context, batch []storage.Write) error {
	if s.refuse != nil {
		return s.refuse(batch)
	}
	return nil
}

type function func(ctx context.Context, in *Message, turn *Turn) error

func (f function) Process(ctx context.Context, in *Message, turn *Turn) error {
	return f(ctx, in, turn)
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, store: &sink{}, again: func(*Flight) bool { return false }}
	s.engine = NewEngine(Options{
		Saver:  telemetry.NewSaver(s.store, live.NewHub(), time.Now, 0),
		Stored: func(*telemetry.Save) {},
		Finished: func(f *Flight) bool {
			if s.again(f) {
				return true
			}
			result := "ok"
			if f.Err() != nil {
				result = f.Where() + ": " + f.Err().Error()
			}
			s.finished = append(s.finished, f.Message.Type+" "+result)
			return false
		},
		Steady: func(ctx context.Context, _ string, op func() error) error {
			for {
				err := op()
				if !PlatformFault(err) {
					return err
				}
				s.waits++
			}
		},
		Slots: 2, Timeout: 50 * time.Millisecond, Executions: 20,
	})
	return s
}

func (s *stage) node(class string, blocking bool, f function) {
	s.kinds = append(s.kinds, Kind{
		Class: class, Blocking: blocking, Relations: []Relation{Success}, Default: json.RawMessage(`{}`),
		New: func(json.RawMessage, Services) (Node, error) { return f, nil },
	})
}

// chain links nodes of the classes in the order given, by Success.
func (s *stage) chain(classes ...string) *Chain {
	s.t.Helper()
	nodes, links := "", ""
	for i, class := range classes {
		if i > 0 {
			nodes += ","
			links += fmt.Sprintf(`{"fromIndex":%d,"toIndex":%d,"type":"Success"},`, i-1, i)
		}
		nodes += fmt.Sprintf(`{"type":%q,"name":%q}`, class, class)
	}
	return s.compile(nodes, links)
}

func (s *stage) compile(nodes, links string) *Chain {
	s.t.Helper()
	if links != "" {
		links = links[:len(links)-1]
	}
	chain, err := NewCompiler(s.kinds, Services{}).Compile(ident.ID{}, chainOf(nodes, links, ""))
	if err != nil {
		s.t.Fatal(err)
	}
	return chain
}

func (s *stage) start(chain *Chain, originator byte, name string) *Flight {
	s.t.Helper()
	f := &Flight{Chain: chain, Message: Message{Type: name, Originator: ident.EntityID{ID: ident.ID{originator}}}}
	if err := s.engine.Start(s.t.Context(), f); err != nil {
		s.t.Fatal(err)
	}
	return f
}

func (s *stage) settle() {
	s.t.Helper()
	for s.engine.Waiting() || s.engine.Busy() {
		var err error
		if s.engine.Waiting() {
			err = s.engine.Flush(s.t.Context())
		} else {
			err = s.engine.Resume(s.t.Context(), <-s.engine.Results())
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	s.engine.Close()
}

func (s *stage) want(finished ...string) {
	s.t.Helper()
	if diff := cmp.Diff(finished, s.finished); diff != "" {
		s.t.Error(diff)
	}
}

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
