package rule

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// stage runs an engine over nodes the test writes as functions.
type stage struct {
	t        *testing.T
	engine   *Engine
	store    *sink
	kinds    []Kind
	finished []string
	again    func(*Flight) bool
	waits    int
	chains   map[ident.ID]*Chain
	debugged []Debugged
	mu       sync.Mutex
	onward   []Onward
	refuse   error // of handing on
}

func (s *stage) handOn(_ context.Context, o Onward) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return s.refuse
	}
	s.onward = append(s.onward, o)
	return nil
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
	s := &stage{t: t, store: &sink{}, chains: map[ident.ID]*Chain{}, again: func(*Flight) bool { return false }}
	s.engine = NewEngine(Options{
		Saver:   telemetry.NewSaver(s.store, live.NewHub(), time.Now, 0),
		Stored:  func(*telemetry.Save) {},
		Deleted: func(telemetry.Deletion) {},
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
		Chain: func(_ context.Context, _ ident.TenantID, id ident.ID) (*Chain, error) {
			if chain, ok := s.chains[id]; ok {
				return chain, nil
			}
			return nil, ErrNoChain
		},
		HandOn:  s.handOn,
		Debug:   func(d Debugged) { s.debugged = append(s.debugged, d) },
		Patient: func() bool { return false },
		Now:     time.Now,
		Slots:   4, ScriptSlots: 4, ScriptShare: func() int { return 4 }, HandOns: 4, Line: 100, Copies: 200, Timeout: 50 * time.Millisecond, Executions: 20,
	})
	return s
}

func (s *stage) node(class string, slow bool, f function) {
	waits := ForNothing
	if slow {
		waits = ForOutside
	}
	s.kinds = append(s.kinds, Kind{
		Class: class, Waits: waits, Relations: []Relation{Success}, Default: json.RawMessage(`{}`),
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
	chain, err := NewCompiler(s.kinds, Services{}).Compile(ident.TenantID{}, ident.ID{}, chainOf(nodes, links, ""))
	if err != nil {
		s.t.Fatal(err)
	}
	return chain
}

func (s *stage) flight(chain *Chain, originator byte, name string) *Flight {
	return &Flight{Chain: chain, Message: Message{Type: name, Originator: ident.EntityID{ID: ident.ID{originator}}}}
}

func (s *stage) start(chain *Chain, originator byte, name string) *Flight {
	s.t.Helper()
	f := s.flight(chain, originator, name)
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
