package corenode

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/event"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulechain"
)

func (n *node) library() *rulechain.Library {
	return rulechain.New(rulechain.Options{
		Chains: n.entities.RuleChains, Compiler: n.compiler, MaxBytes: 1 << 20, Now: time.Now, Saved: n.chainSaved,
	})
}

// root makes a chain of nodes and links, and makes it the root.
func (n *node) root(t *testing.T, graph string) ident.ID {
	t.Helper()
	chain, err := n.library().Create(t.Context(), n.device.Tenant, rule.ChainEntry{Name: "made by a test"}, ident.ID{})
	if err != nil {
		t.Fatal(err)
	}
	n.graph(t, chain.ID, graph)
	if _, err := n.entities.RuleChains.SetRoot(t.Context(), n.device.Tenant, chain.ID); err != nil {
		t.Fatal(err)
	}
	return chain.ID
}

func (n *node) graph(t *testing.T, chain ident.ID, graph string) rulechain.Chain {
	t.Helper()
	var g rule.Graph
	if err := json.Unmarshal([]byte(graph), &g); err != nil {
		t.Fatal(err)
	}
	saved, err := n.library().SaveGraph(t.Context(), n.device.Tenant, chain, 0, g, false)
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

// until sends readings until what is wanted has come of one.
func (n *node) until(t *testing.T, what string, holds func(key string) bool) {
	t.Helper()
	at := 0
	eventually(t, what, func() bool {
		at++
		key := fmt.Sprint("reading", at)
		n.send(t, n.uplink(reading(int64(at), key, telemetry.OfLong(1))))
		for range 20 {
			if holds(key) {
				return true
			}
			time.Sleep(5 * time.Millisecond)
		}
		return false
	})
}

const (
	saving  = `{"type":"org.thingsboard.rule.engine.telemetry.TbMsgTimeseriesNode","name":"save","configuration":{}}`
	strange = `{"type":"org.example.Strange","name":"the strange one","configuration":{}}`
)

func alone(node string) string { return `{"firstNodeIndex":0,"nodes":[` + node + `]}` }

func TestA1TheDefaultChainStoresReadings(t *testing.T) {
	n := start(t, nil)
	chain, err := n.library().CreateDefault(t.Context(), n.device.Tenant, "imported")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.entities.RuleChains.SetRoot(t.Context(), n.device.Tenant, chain.ID); err != nil {
		t.Fatal(err)
	}
	n.send(t, n.uplink(reading(5, "t", telemetry.OfLong(1))))
	eventually(t, "the reading stored", func() bool { return len(n.latest(t, "t")) == 1 })
	if got := n.latest(t, "t")[0]; got.Time != 5 || got.Value != telemetry.OfLong(1) {
		t.Errorf("stored %+v", got)
	}
}

func TestA6MessagesThatReachAnUnknownNodeNameIt(t *testing.T) {
	n := start(t, nil)
	chain := n.root(t, alone(strange))
	n.until(t, "a dead letter that names the node", func(string) bool {
		letters := n.admin.ask(t, "GET", "/dead-letters")
		return strings.Contains(letters, "the strange one") && strings.Contains(letters, "org.example.Strange")
	})
	n.graph(t, chain, alone(saving))
	n.until(t, "readings stored after the node was replaced", func(key string) bool { return len(n.latest(t, key)) == 1 })
}

func TestA9ChainWithoutEntryIsDoneWithMessages(t *testing.T) {
	n := start(t, nil)
	n.root(t, `{"firstNodeIndex":null,"nodes":[`+saving+`]}`)
	n.until(t, "a reading that is not stored", func(key string) bool {
		time.Sleep(50 * time.Millisecond)
		return len(n.latest(t, key)) == 0
	})
	if letters := strings.TrimSpace(n.admin.ask(t, "GET", "/dead-letters")); letters != "[]" {
		t.Errorf("dead letters %s", letters)
	}
}

// TestB22ANodeThatCannotStartIsRevivedBySaving: others run meanwhile.
func TestB22ANodeThatCannotStartIsRevivedBySaving(t *testing.T) {
	n := start(t, nil)
	logging := func(script string) string {
		return fmt.Sprintf(`{"type":"org.thingsboard.rule.engine.action.TbLogNode","name":"log it","configuration":{"scriptLang":"TBEL","tbelScript":%q}}`, script)
	}
	graph := `{"firstNodeIndex":0,"nodes":[` + saving + `,%s,` + strings.Replace(saving, "save", "save too", 1) + `],` +
		`"connections":[{"fromIndex":0,"toIndex":1,"type":"Success"},{"fromIndex":0,"toIndex":2,"type":"Success"}]}`
	chain := n.root(t, fmt.Sprintf(graph, logging("return of(the) {")))
	n.until(t, "a dead letter of the broken node, and the reading stored by another", func(key string) bool {
		return strings.Contains(n.admin.ask(t, "GET", "/dead-letters"), "log it") && len(n.latest(t, key)) == 1
	})
	saved, err := n.library().Get(t.Context(), n.device.Tenant, chain)
	if err != nil {
		t.Fatal(err)
	}
	broken := ident.EntityID{Type: ident.RuleNode, ID: saved.Graph.Nodes[1].ID.ID}
	eventually(t, "a lifecycle event of the broken node", func() bool {
		last, found, err := n.told.Last(t.Context(), n.device.Tenant, broken, event.Lifecycle, event.Filter{})
		return err == nil && found && strings.Contains(string(last.Body), `"success":false`) && strings.Contains(string(last.Body), "tbelScript")
	})
	n.graph(t, chain, alone(saving))
	n.until(t, "no dead letter for a further reading", func(string) bool {
		before := n.admin.ask(t, "GET", "/dead-letters")
		time.Sleep(50 * time.Millisecond)
		return before == n.admin.ask(t, "GET", "/dead-letters")
	})
}

// sorted saves telemetry alone, in a node of that name.
func sorted(name string) string {
	return `{"firstNodeIndex":0,"nodes":[{"type":"org.thingsboard.rule.engine.filter.TbMsgTypeSwitchNode","name":"sort","configuration":{}},` +
		strings.Replace(saving, "save", name, 1) + `],"connections":[{"fromIndex":0,"toIndex":1,"type":"Post telemetry"}]}`
}

// TestA21ChangesLoseAndDoubleNothing changes and switches the root chain while readings come in.
func TestA21ChangesLoseAndDoubleNothing(t *testing.T) {
	n := start(t, nil)
	both := []ident.ID{n.root(t, sorted("one")), n.root(t, sorted("another"))}
	const readings = 2000
	var sending sync.WaitGroup
	sending.Go(func() {
		for at := range readings {
			n.send(t, n.uplink(reading(int64(at+1), "level", telemetry.OfLong(int64(at)))))
		}
	})
	sent := make(chan struct{})
	go func() { sending.Wait(); close(sent) }()
	for changes := 0; ; changes++ {
		select {
		case <-sent:
			eventually(t, "all readings stored", func() bool { return n.handled(t) >= readings })
			if got := n.handled(t); got != readings {
				t.Errorf("%v readings were stored, of %d, over %d changes", got, readings, changes)
			}
			if letters := strings.TrimSpace(n.admin.ask(t, "GET", "/dead-letters")); letters != "[]" {
				t.Errorf("dead letters %s", letters)
			}
			return
		default:
		}
		n.graph(t, both[changes%2], sorted(fmt.Sprint("save ", changes)))
		if _, err := n.entities.RuleChains.SetRoot(t.Context(), n.device.Tenant, both[changes%2]); err != nil {
			t.Fatal(err)
		}
	}
}
