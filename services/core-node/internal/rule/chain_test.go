package rule

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
)

// pass is a node that sends everything along Success.
type pass struct{}

func (pass) Process(_ context.Context, in *Message, turn *Turn) error {
	turn.Emit(Success, in)
	return nil
}

func testKinds() []Kind {
	return []Kind{
		{
			Class: "pass", Relations: []Relation{Success}, Default: json.RawMessage(`{}`),
			New: func(config json.RawMessage, _ Services) (Node, error) {
				var c struct {
					Field *int `json:"field"`
				}
				if err := json.Unmarshal(config, &c); err != nil {
					return nil, err
				}
				if c.Field != nil && *c.Field < 0 {
					return nil, fmt.Errorf("field: %d is negative", *c.Field)
				}
				return pass{}, nil
			},
		},
		{Class: "later"},
	}
}

func chainOf(nodes, connections, rest string) []byte {
	return fmt.Appendf(nil, `{"ruleChain":{"name":"C"},"metadata":{"firstNodeIndex":0,"nodes":[%s],"connections":[%s]%s}}`, nodes, connections, rest)
}

const (
	a = `{"type":"pass","name":"A","configuration":{}}`
	b = `{"type":"pass","name":"B"}`
	c = `{"type":"pass","name":"C"}`
)

func TestWhatIsWrongIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		chain []byte
		want  string
	}{
		"no JSON":            {[]byte(`{`), "read JSON"},
		"no name":            {[]byte(`{"ruleChain":{}}`), "ruleChain.name"},
		"first of none":      {[]byte(`{"ruleChain":{"name":"C"},"metadata":{"firstNodeIndex":0}}`), "metadata.firstNodeIndex: there is no node 0"},
		"dangling from":      {chainOf(a, `{"fromIndex":7,"toIndex":0,"type":"Success"}`, ""), "metadata.connections[0].fromIndex: there is no node 7"},
		"dangling to":        {chainOf(a, `{"fromIndex":0,"toIndex":-1,"type":"Success"}`, ""), "metadata.connections[0].toIndex: there is no node -1"},
		"to itself (A8)":     {chainOf(a, `{"fromIndex":0,"toIndex":0,"type":"Success"}`, ""), `node 0 "A" is connected to itself`},
		"a circle (A8)":      {chainOf(a+","+b, `{"fromIndex":0,"toIndex":1,"type":"x"},{"fromIndex":1,"toIndex":0,"type":"x"}`, ""), "is on a circle"},
		"a circle behind":    {chainOf(a+","+b+","+c, `{"fromIndex":0,"toIndex":1,"type":"x"},{"fromIndex":1,"toIndex":2,"type":"x"},{"fromIndex":2,"toIndex":1,"type":"x"}`, ""), "is on a circle"},
		"no relation":        {chainOf(a+","+b, `{"fromIndex":0,"toIndex":1}`, ""), "metadata.connections[0].type"},
		"no class":           {chainOf(`{"name":"A"}`, "", ""), `node 0 "A": type`},
		"a bad field":        {chainOf(`{"type":"pass","name":"A","configuration":{"field":-1}}`, "", ""), `node 0 "A": configuration: field: -1`},
		"a bad target chain": {chainOf(a, "", `,"ruleChainConnections":[{"fromIndex":0,"type":"x","targetRuleChainId":{"id":"7"}}]`), "metadata.ruleChainConnections[0].targetRuleChainId"},
	} {
		_, err := NewCompiler(testKinds(), Services{}).Compile(ident.TenantID{}, ident.ID{}, test.chain)
		if err == nil || !strings.Contains(err.Error(), test.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want one saying %q", name, err, test.want)
		}
	}
}

func TestWhatCannotRunIsTaken(t *testing.T) {
	chain, err := NewCompiler(testKinds(), Services{}).Compile(ident.TenantID{}, ident.ID{}, chainOf(
		`{"type":"org.example.Mine","name":"Foreign"},{"type":"later","name":"Later"}`, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{`node "Foreign" cannot run: its class org.example.Mine is not known`, `node "Later" cannot run: its class later is not built yet`} {
		if s := chain.steps[i]; s.node != nil || s.why == nil || s.why.Error() != want {
			t.Errorf("node %d: %v, want %s", i, s.why, want)
		}
	}
}

func TestLinks(t *testing.T) {
	chain, err := NewCompiler(testKinds(), Services{}).Compile(ident.TenantID{}, ident.ID{}, chainOf(a+","+b+","+c,
		`{"fromIndex":0,"toIndex":1,"type":"SUCCESS"},{"fromIndex":0,"toIndex":1,"type":"Success"},{"fromIndex":0,"toIndex":2,"type":"success"},`+
			`{"fromIndex":1,"toIndex":2,"type":"My Own"},{"fromIndex":1,"toIndex":2,"type":"failure"}`, ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		at   int
		r    Relation
		want string
	}{
		{0, Success, "[1 2]"}, {0, "sUcCeSs", "[1 2]"}, {0, Failure, "[]"}, // A10, and identical links count once
		{1, "my own", "[2]"}, {1, "MY OWN", "[2]"}, {1, Failure, "[2]"}, {2, Success, "[]"},
	} {
		if got := fmt.Sprint(chain.steps[test.at].follow(test.r)); got != test.want {
			t.Errorf("from %d along %s: %s, want %s", test.at, test.r, got, test.want)
		}
	}
}

func TestLinksToOtherChainsBecomeNodes(t *testing.T) {
	chain, err := NewCompiler(testKinds(), Services{}).Compile(ident.TenantID{}, ident.ID{}, chainOf(a, "",
		`,"ruleChainConnections":[{"fromIndex":0,"type":"Other","targetRuleChainId":{"entityType":"RULE_CHAIN","id":"8c3a3ad0-2a5b-11ee-a0d6-05a6b6e4e5f0"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	if len(chain.steps) != 2 || fmt.Sprint(chain.steps[0].follow(Other)) != "[1]" { // A4
		t.Errorf("%d nodes, Other leads to %v", len(chain.steps), chain.steps[0].follow(Other))
	}
}

func FuzzCompile(f *testing.F) {
	root, err := os.ReadFile("../entity/rootchain.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(root)
	f.Add(chainOf(a+","+b, `{"fromIndex":0,"toIndex":1,"type":"Success"}`, ""))
	f.Add(chainOf(a, "", `,"ruleChainConnections":[{"fromIndex":0,"type":"Other","targetRuleChainId":{"id":"8c3a3ad0-2a5b-11ee-a0d6-05a6b6e4e5f0"}}]`))
	f.Add([]byte(`{"ruleChain":{"name":"C"},"metadata":{"connections":[{"fromIndex":9223372036854775807,"toIndex":0}]}}`))
	compiler := NewCompiler(testKinds(), Services{})
	f.Fuzz(func(t *testing.T, text []byte) {
		chain, err := compiler.Compile(ident.TenantID{}, ident.ID{}, text)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("refused as %v: %v", fault.KindOf(err), err)
			}
			return
		}
		if chain.first >= len(chain.steps) {
			t.Errorf("it starts at node %d of %d", chain.first, len(chain.steps))
		}
		for i := range chain.steps {
			if s := &chain.steps[i]; (s.node == nil) == (s.why == nil) {
				t.Errorf("node %d: %v, %v", i, s.node, s.why)
			}
		}
	})
}
