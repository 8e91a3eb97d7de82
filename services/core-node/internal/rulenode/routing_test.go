package rulenode_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

const prefix = "org.thingsboard.rule.engine."

func to(relation string, names ...string) map[string][]string {
	return map[string][]string{relation: names}
}

func probeNode(name string, links map[string][]string) node {
	return node{class: "probe", name: name, links: links}
}

func input(name string, chain byte, links map[string][]string) node {
	return node{prefix + "flow.TbRuleChainInputNode", name, `{"ruleChainId":"` + chainID(chain).String() + `"}`, links}
}

func output(name string) node { return node{class: prefix + "flow.TbRuleChainOutputNode", name: name} }

func TestCirclesAreRefused(t *testing.T) {
	l := newLine(t, 20)
	for _, c := range []struct {
		name  string
		nodes []node
		want  string
	}{
		{"A8 there and back", []node{probeNode("0", to("Success", "1")), probeNode("1", to("Success", "0"))}, "circling relations"},
		{"A8 to itself", []node{probeNode("0", to("Success", "1")), probeNode("1", to("Success", "1"))}, `node 1 "1" is connected to itself`},
		{"A8 behind the start", []node{probeNode("0", to("Success", "1")), probeNode("1", to("Success", "2")), probeNode("2", to("Success", "1"))}, "circling relations"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := l.compile('A', c.nodes...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want one saying %q", err, c.want)
			}
		})
	}
}

func TestA9_AChainWithoutAnEntryAcks(t *testing.T) {
	l := newLine(t, 20)
	chain, err := l.compiler.Compile(l.bench.Services.Tenant, chainID('A'),
		[]byte(`{"ruleChain":{"name":"A"},"metadata":{"firstNodeIndex":null,"nodes":[{"type":"probe","name":"P"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	l.run(chain, rule.PostTelemetry, `{"t":1}`, nil)
	l.want(nil, "acked after 1")
}

func TestA10_LinksAreFoundWhateverTheirCase(t *testing.T) {
	l := newLine(t, 20)
	l.run(l.chain('A', node{class: prefix + "filter.TbMsgTypeSwitchNode", name: "S", links: to("post TELEMETRY", "P")}, probeNode("P", nil)),
		rule.PostTelemetry, `{"t":1}`, nil)
	l.want([]string{`P {"t":1}`}, "acked after 1")
}

func TestA11_TypesOfTenantsAreOther(t *testing.T) {
	l := newLine(t, 20)
	l.run(l.chain('A', node{class: prefix + "filter.TbMsgTypeSwitchNode", name: "S", links: map[string][]string{"Other": {"P"}, "Post telemetry": {"Q"}}},
		probeNode("P", nil), probeNode("Q", nil)), "MY_TYPE", `{}`, nil)
	l.want([]string{`P {}`}, "acked after 1")
}

func filterTo(names ...string) node {
	return node{prefix + "filter.TbJsFilterNode", "F", `{"jsScript":"return true;"}`, to("True", names...)}
}

// The reference publishes copies; here they run in the process, and the message is done with when all are.
func TestA13_EveryWayOutIsTakenBeforeTheMessageIsDone(t *testing.T) {
	l := newLine(t, 20)
	l.bench.Scripts.Return("true")
	l.run(l.chain('A', filterTo("P", "Q"), probeNode("P", nil), probeNode("Q", to("Success", "R")), probeNode("R", nil)), "T", `{}`, nil)
	l.want([]string{"P {}", "Q {}", "R {}"}, "acked after 1")
	if l.seenAtEnd != 3 {
		t.Errorf("it ended when %d of 3 nodes had run", l.seenAtEnd)
	}
}

func TestA14_IfOneWayFailsTheMessageDoes(t *testing.T) {
	for _, failing := range []string{"P", "Q"} {
		l := newLine(t, 20)
		l.bench.Scripts.Return("true")
		l.retries, l.fail[failing] = 2, 1
		l.run(l.chain('A', filterTo("P", "Q"), probeNode("P", nil), probeNode("Q", nil)), "T", `{}`, nil)
		l.want([]string{"P {}", "Q {}", "P {}", "Q {}"}, "acked after 2")
	}
	l := newLine(t, 20)
	l.bench.Scripts.Return("true")
	l.fail["P"] = 1
	l.run(l.chain('A', filterTo("P", "Q"), probeNode("P", nil), probeNode("Q", nil)), "T", `{}`, nil)
	l.want([]string{"P {}", "Q {}"}, `rule chain "A" node "P": not yet after 1`)
}

func TestA15_ANestedChainGivesBackByName(t *testing.T) {
	l := newLine(t, 20)
	l.chain('B', probeNode("in B", to("Success", "Ok")), output("Ok"))
	l.run(l.chain('A', input("I", 'B', map[string][]string{"ok": {"P"}, "Success": {"Q"}}), probeNode("P", nil), probeNode("Q", nil)), "T", `{}`, nil)
	l.want([]string{"in B {}", "P {}"}, "acked after 1")
}

func TestA15_ANestedChainWithoutAnOutputGivesNothingBack(t *testing.T) {
	l := newLine(t, 20)
	l.chain('B', probeNode("in B", nil))
	l.run(l.chain('A', input("I", 'B', to("Success", "P")), probeNode("P", nil)), "T", `{}`, nil)
	l.want([]string{"in B {}"}, "acked after 1")
}

func TestA16_ALoopOfChainsFails(t *testing.T) {
	l := newLine(t, 50)
	l.chain('B', input("back", 'A', to("Failure", "caught")), probeNode("caught", nil))
	l.run(l.chain('A', probeNode("in A", to("Success", "I")), input("I", 'B', nil)), "T", `{}`, nil)
	if len(l.finished) != 1 || !strings.Contains(l.finished[0], "loop") || !strings.Contains(l.finished[0], `rule chain "A" node "I"`) {
		t.Errorf("it ended as %v", l.finished)
	}
	if fmt.Sprint(l.seen) != "[in A {} in A {}]" {
		t.Errorf("it went through %v", l.seen)
	}
}

func TestA16_AChainDoesNotEnterItself(t *testing.T) {
	l := newLine(t, 20)
	l.run(l.chain('A', input("I", 'A', nil)), "T", `{}`, nil)
	l.want(nil, `rule chain "A" node "I": a rule chain cannot enter itself after 1`)
}

func TestA17_AnOutputOfTheRootChainAcks(t *testing.T) {
	l := newLine(t, 20)
	l.run(l.chain('A', output("Ok")), "T", `{}`, nil)
	l.want(nil, "acked after 1")
}

func TestA18_TheProfilesChainRuns(t *testing.T) {
	for name, c := range map[string]struct {
		own  bool
		want string
	}{"the profile's": {true, "in root {}"}, "the configured one": {false, "in B {}"}} {
		t.Run(name, func(t *testing.T) {
			l := newLine(t, 20)
			root, err := l.bench.Services.Entities.RuleChains.RootChain(t.Context(), l.bench.Services.Tenant)
			if err != nil {
				t.Fatal(err)
			}
			profile := entity.Profile{Tenant: l.bench.Services.Tenant, Name: "P"}
			if c.own {
				profile.DefaultRuleChain = root.ID
			}
			if profile, err = l.bench.Services.Entities.DeviceProfiles.Create(t.Context(), profile); err != nil {
				t.Fatal(err)
			}
			device, err := l.bench.Services.Entities.Devices.Create(t.Context(),
				entity.Device{Tenant: l.bench.Services.Tenant, Name: "D", Profile: profile.ID}, nil)
			if err != nil {
				t.Fatal(err)
			}
			l.bench.Device = device.ID
			l.chains[root.ID] = l.chain('R', probeNode("in root", nil))
			l.chain('B', probeNode("in B", nil))
			in := input("I", 'B', nil)
			in.config = `{"ruleChainId":"` + chainID('B').String() + `","forwardMsgToDefaultRuleChain":true}`
			l.run(l.chain('A', in), "T", `{}`, nil)
			l.want([]string{c.want}, "acked after 1")
		})
	}
}

func TestA19_TooManyStepsFail(t *testing.T) {
	l := newLine(t, 5)
	var nodes []node
	for i := 1; i <= 7; i++ {
		links := to("Success", fmt.Sprint(i+1))
		if i == 7 {
			links = nil
		}
		nodes = append(nodes, probeNode(fmt.Sprint(i), links))
	}
	l.run(l.chain('A', nodes...), "T", `{}`, nil)
	l.want([]string{"1 {}", "2 {}", "3 {}", "4 {}", "5 {}"}, `rule chain "A" node "6": the message is processed by more than 5 rule nodes after 1`)
}

func TestMessagesForWhatIsNoMore(t *testing.T) {
	for _, c := range []struct {
		name string
		at   rule.Position
		want []string
	}{
		{"A21 the node is gone", rule.Position{Chain: chainID('A'), Node: ident.ID{9}, Relation: rule.Success}, nil},
		{"A21 the chain is gone", rule.Position{Chain: chainID('Z'), Node: ident.Derive(chainID('Z'), "P")}, nil},
		{"A21 the one that entered is gone", rule.Position{
			Chain: chainID('A'), Node: ident.Derive(chainID('A'), "P"), Relation: rule.Success, Stack: []rule.Place{{Chain: chainID('A'), Node: ident.ID{9}}},
		}, []string{"Q {}"}},
		{"the node is there", rule.Position{Chain: chainID('A'), Node: ident.Derive(chainID('A'), "P"), Relation: rule.Success}, []string{"Q {}"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLine(t, 20)
			chain := l.chain('A', probeNode("P", to("Success", "Q")), probeNode("Q", to("Success", "Out")), output("Out"))
			l.run(chain, "T", `{}`, &c.at)
			l.want(c.want, "acked after 1")
		})
	}
}

func TestArraysAreSplitInPlace(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       []string
		end        string
	}{
		{"A28 three", `[1,2,3]`, []string{"P 1", "P 2", "P 3"}, "acked after 1"},
		{"A28 none", `[]`, nil, "acked after 1"},
		{"A28 no array", `{"a":1}`, nil, `rule chain "A" node "S": the body is not a JSON array after 1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLine(t, 20)
			l.run(l.chain('A', node{class: prefix + "transform.TbSplitArrayMsgNode", name: "S", links: to("Success", "P")}, probeNode("P", nil)), "T", c.data, nil)
			l.want(c.want, c.end)
		})
	}
}

func TestB11_EveryMessageOfAScriptGoesOn(t *testing.T) {
	l := newLine(t, 20)
	l.bench.Scripts.Return(`[{"msg":1},{"msg":2}]`)
	l.run(l.chain('A', node{prefix + "transform.TbTransformMsgNode", "S", `{"jsScript":"x"}`, to("Success", "P")}, probeNode("P", nil)), "T", `{}`, nil)
	l.want([]string{"P 1", "P 2"}, "acked after 1")
}

func TestB6_NoRelationAcks(t *testing.T) {
	l := newLine(t, 20)
	l.bench.Scripts.Return(`[]`)
	l.run(l.chain('A', node{prefix + "filter.TbJsSwitchNode", "S", `{"jsScript":"x"}`, to("a", "P")}, probeNode("P", nil)), "T", `{}`, nil)
	l.bench.Scripts.Return(`["A","a"]`)
	l.run(l.chain('A', node{prefix + "filter.TbJsSwitchNode", "S", `{"jsScript":"x"}`, to("a", "P")}, probeNode("P", nil)), "U", `{}`, nil)
	l.want([]string{"P {}"}, "acked after 1", "acked after 1") // relations that differ by case alone are one
}

func TestQ11_BehindAnAcknowledgementNothingIsTriedAgain(t *testing.T) {
	l := newLine(t, 20)
	l.retries, l.fail["P"] = 3, 1
	l.run(l.chain('A', node{class: prefix + "flow.TbAckNode", name: "Ack", links: to("Success", "P")}, probeNode("P", nil)), "T", `{}`, nil)
	l.want([]string{"P {}"}, `rule chain "A" node "P": not yet after 1`)
}
