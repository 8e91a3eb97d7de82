package rulenode_test

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
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Pebble's cache has a goroutine for the life of the process.
		goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2/internal/manifest.(*obsoleteVersionsManager).run"))
}

// line runs messages through chains of the catalogue's nodes, and of probes: nodes that say what reached them.
type line struct {
	t        *testing.T
	bench    *rulenodetest.Bench
	compiler *rule.Compiler
	engine   *rule.Engine
	chains   map[ident.ID]*rule.Chain
	retries  int
	finished []string
	// seenAtEnd is how much had been seen when the last message ended.
	seenAtEnd int

	mu     sync.Mutex
	seen   []string
	onward []rule.Onward
	fail   map[string]int // how often a probe fails before it does not
}

// probe is a node that notes what reaches it and sends it along Success.
type probe struct {
	line *line
	name string
}

func (p probe) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	l := p.line
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, p.name+" "+in.Body.Text())
	if l.fail[p.name] > 0 {
		l.fail[p.name]--
		return errors.New("not yet")
	}
	turn.Emit(rule.Success, in)
	return nil
}

func newLine(t *testing.T, executions int) *line {
	t.Helper()
	l := &line{t: t, bench: rulenodetest.New(t), chains: map[ident.ID]*rule.Chain{}, fail: map[string]int{}}
	l.bench.Platform()
	probes := rule.Kind{
		Class: "probe", Name: "probe", Relations: []rule.Relation{rule.Success}, Default: json.RawMessage(`{}`),
		New: func(_ json.RawMessage, s rule.Services) (rule.Node, error) { return probe{l, s.Name}, nil },
	}
	l.compiler = rule.NewCompiler(append(rulenode.Catalogue(), probes), l.bench.Services)
	l.engine = rule.NewEngine(rule.Options{
		Saver:    telemetry.NewSaver(l.bench.Store, live.NewHub(), l.bench.Services.Now, 0),
		Stored:   func(*telemetry.Save) {},
		Deleted:  func(telemetry.Deletion) {},
		Finished: l.finish,
		Steady:   func(_ context.Context, _ string, op func() error) error { return op() },
		Chain: func(_ context.Context, _ ident.TenantID, id ident.ID) (*rule.Chain, error) {
			if chain, ok := l.chains[id]; ok {
				return chain, nil
			}
			return nil, rule.ErrNoChain
		},
		HandOn:  l.handOn,
		Debug:   func(rule.Debugged) {},
		Patient: func() bool { return false },
		Now:     l.bench.Services.Now,
		Slots:   4, ScriptSlots: 4, ScriptShare: func() int { return 4 }, HandOns: 4, Line: 100, Copies: 100_000, Timeout: 5 * time.Second, Executions: executions,
	})
	return l
}

func (l *line) finish(f *rule.Flight) (again bool) {
	if f.Err() != nil && !f.Final() && f.Attempts <= l.retries {
		return true
	}
	l.mu.Lock()
	l.seenAtEnd = len(l.seen)
	l.mu.Unlock()
	result := "acked"
	if f.Err() != nil {
		result = f.Where() + ": " + f.Err().Error()
	}
	l.finished = append(l.finished, fmt.Sprintf("%s after %d", result, f.Attempts))
	return false
}

func (l *line) handOn(_ context.Context, o rule.Onward) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onward = append(l.onward, o)
	return nil
}

// node is one node of a chain; links name relations and the nodes they lead to.
type node struct {
	class, name, config string
	links               map[string][]string
}

// chain compiles nodes, of which the first is the entry, as a chain that others can enter by the id.
func (l *line) chain(id byte, nodes ...node) *rule.Chain {
	l.t.Helper()
	chain, err := l.compile(id, nodes...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.chains[chain.ID] = chain
	return chain
}

func (l *line) compile(id byte, nodes ...node) (*rule.Chain, error) {
	first := 0
	doc := rule.Document{RuleChain: rule.ChainEntry{Name: string(rune(id))}, Metadata: rule.Graph{FirstNodeIndex: &first}}
	for i, n := range nodes {
		if n.config == "" {
			n.config = "{}"
		}
		doc.Metadata.Nodes = append(doc.Metadata.Nodes, rule.NodeEntry{
			ID: rule.Reference{EntityType: "RULE_NODE", ID: ident.Derive(chainID(id), n.name)}, Type: n.class, Name: n.name,
			Configuration: json.RawMessage(n.config), ConfigurationVersion: 99,
		})
		for relation, to := range n.links {
			for _, name := range to {
				at := slices.IndexFunc(nodes, func(n node) bool { return n.name == name })
				doc.Metadata.Connections = append(doc.Metadata.Connections, rule.Connection{FromIndex: i, ToIndex: at, Type: relation})
			}
		}
	}
	text, err := json.Marshal(doc)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.compiler.Compile(l.bench.Services.Tenant, chainID(id), text)
}

func chainID(id byte) ident.ID { return ident.Derive(ident.ID{5}, string(rune(id))) }

// run sends a message into chain, and returns when all has come of it that will; position is where it goes on, if not at the start.
func (l *line) run(chain *rule.Chain, messageType, data string, position *rule.Position) {
	l.t.Helper()
	f := &rule.Flight{Chain: chain, Message: *l.bench.Message(messageType, data, nil), Position: position}
	for {
		attempts := f.Attempts
		if err := l.engine.Start(l.t.Context(), f); err != nil {
			l.t.Fatal(err)
		}
		for l.engine.Waiting() || l.engine.Busy() {
			var err error
			if l.engine.Waiting() {
				err = l.engine.Flush(l.t.Context())
			} else {
				err = l.engine.Resume(l.t.Context(), <-l.engine.Results())
			}
			if err != nil {
				l.t.Fatal(err)
			}
		}
		if f.Err() == nil || f.Final() || f.Attempts > l.retries || f.Attempts == attempts {
			break
		}
	}
	l.engine.Close()
}

// want checks what reached the probes, in order, and how the messages ended.
func (l *line) want(seen []string, finished ...string) {
	l.t.Helper()
	if diff := cmp.Diff(seen, l.seen); diff != "" {
		l.t.Errorf("what reached the probes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(finished, l.finished); diff != "" {
		l.t.Errorf("how the messages ended (-want +got):\n%s", diff)
	}
}
