package httpapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

const classes = "org.thingsboard.rule.engine."

type chainAnswer struct {
	ID              entityRef
	FirstRuleNodeID *entityRef
	Name, Type      string
	Root            bool
	Version         int64
}

type nodeAnswer struct {
	ID                   *entityRef
	RuleChainID          *entityRef
	Type, Name           string
	ConfigurationVersion int
	Configuration        json.RawMessage
}

type linkAnswer struct {
	FromIndex, ToIndex int
	Type               string
}

type graphAnswer struct {
	RuleChainID          entityRef
	Version              int64
	FirstNodeIndex       *int
	Nodes                []nodeAnswer
	Connections          []linkAnswer
	RuleChainConnections json.RawMessage
}

func newChain(t *testing.T, c *httpapitest.Client, name string) chainAnswer {
	t.Helper()
	var made chainAnswer
	c.Do("POST", "/api/ruleChain", map[string]string{"name": name}).Expect(200).JSON(&made)
	return made
}

// graph is a RuleChainMetaData: nodes are JSON objects, links are from, to and type.
func graph(chain chainAnswer, first any, nodes []string, links ...string) string {
	index, err := json.Marshal(first)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"ruleChainId":{"entityType":"RULE_CHAIN","id":%q},"firstNodeIndex":%s,"nodes":[%s],"connections":[%s]}`,
		chain.ID.ID, index, strings.Join(nodes, ","), strings.Join(links, ","))
}

func node(class, name, config string) string {
	return fmt.Sprintf(`{"type":%q,"name":%q,"configuration":%s}`, classes+class, name, config)
}

func link(from, to int, relation string) string {
	return fmt.Sprintf(`{"fromIndex":%d,"toIndex":%d,"type":%q}`, from, to, relation)
}

func saveGraph(t *testing.T, c *httpapitest.Client, body string) graphAnswer {
	t.Helper()
	var saved graphAnswer
	c.Do("POST", "/api/ruleChain/metadata", body).Expect(200).JSON(&saved)
	return saved
}

// plain are three nodes that every platform has.
func plainNodes() []string {
	return []string{
		node("filter.TbMsgTypeSwitchNode", "switch", `{}`), node("telemetry.TbMsgTimeseriesNode", "save", `{"defaultTTL":0}`),
		node("flow.TbUnheardOfNode", "strange", `{"b":  1.0,"a":"<&>","c":[1e3]}`),
	}
}

func rootID(t *testing.T, c *httpapitest.Client) string {
	t.Helper()
	var found struct{ Data []chainAnswer }
	c.Get("/api/ruleChains?pageSize=100&page=0", &found)
	for _, one := range found.Data {
		if one.Root {
			return one.ID.ID
		}
	}
	t.Fatal("no root chain")
	return ""
}

// TestCase78RuleChains is case 78 of rest-api §7.
func TestCase78RuleChains(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	made := newChain(t, c, "thermostats")
	if made.Type != "CORE" || made.Root || made.Version != 1 || made.FirstRuleNodeID != nil {
		t.Errorf("made %+v", made)
	}
	saved := saveGraph(t, c, graph(made, 0, plainNodes(), link(0, 1, "Post telemetry"), link(0, 2, "Other")))
	var read graphAnswer
	c.Get("/api/ruleChain/"+made.ID.ID+"/metadata", &read)
	if diff := cmp.Diff(saved, read); diff != "" {
		t.Errorf("read otherwise than saved:\n%s", diff)
	}
	if diff := cmp.Diff([]linkAnswer{{0, 1, "Post telemetry"}, {0, 2, "Other"}}, read.Connections); diff != "" {
		t.Error(diff)
	}
	for _, n := range read.Nodes {
		if n.ID == nil || n.ID.EntityType != "RULE_NODE" || *n.RuleChainID != made.ID {
			t.Errorf("node %+v", n)
		}
	}
	old := rootID(t, c)
	var root chainAnswer
	c.Do("POST", "/api/ruleChain/"+made.ID.ID+"/root", nil).Expect(200).JSON(&root)
	if !root.Root || rootID(t, c) != made.ID.ID || root.FirstRuleNodeID == nil || *root.FirstRuleNodeID != *read.Nodes[0].ID {
		t.Errorf("root %+v, the list says %s", root, rootID(t, c))
	}
	c.Do("DELETE", "/api/ruleChain/"+made.ID.ID, nil).ExpectError(400, 31)
	c.Do("DELETE", "/api/ruleChain/"+old, nil).Expect(200)
	c.Do("GET", "/api/ruleChain/"+old, nil).ExpectError(404, 32)
}

func TestRuleChainFields(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	made := newChain(t, c, "fields")
	saveGraph(t, c, graph(made, 0, plainNodes(), link(0, 1, "Post telemetry")))
	keys := func(path string, into ...string) []string {
		var fields map[string]json.RawMessage
		c.Get(path, &fields)
		for _, name := range into {
			var list []map[string]json.RawMessage
			if err := json.Unmarshal(fields[name], &list); err != nil {
				t.Fatal(err)
			}
			fields = list[0]
		}
		return slices.Sorted(maps.Keys(fields))
	}
	path := "/api/ruleChain/" + made.ID.ID
	for name, is := range map[string]struct{ got, want []string }{
		"chain": {keys(path), []string{
			"additionalInfo", "configuration", "createdTime", "debugMode", "externalId", "firstRuleNodeId", "id", "name", "root", "tenantId", "type", "version",
		}},
		"graph": {keys(path + "/metadata"), []string{
			"connections", "firstNodeIndex", "nodes", "notes", "ruleChainConnections", "ruleChainId", "version",
		}},
		"node": {keys(path+"/metadata", "nodes"), []string{
			"additionalInfo", "configuration", "configurationVersion", "createdTime", "debugSettings", "externalId", "id", "name", "queueName",
			"ruleChainId", "singletonMode", "type",
		}},
	} {
		if diff := cmp.Diff(is.want, is.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestGraphKeepsNodes: nodes with an id are updated, others made, absent ones deleted; what was there stays in front.
func TestGraphKeepsNodes(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	made := newChain(t, c, "edited")
	first := saveGraph(t, c, graph(made, 0, plainNodes(), link(0, 1, "Post telemetry"), link(0, 2, "Other")))
	kept := func(n nodeAnswer, name string) string {
		return fmt.Sprintf(`{"id":{"entityType":"RULE_NODE","id":%q},"type":%q,"name":%q,"configuration":%s,"configurationVersion":%d}`,
			n.ID.ID, n.Type, name, n.Configuration, n.ConfigurationVersion)
	}
	foreign := `{"id":{"entityType":"RULE_NODE","id":"784f394c-42b6-435a-983c-b7beff2784f9"},"type":"` + classes + `action.TbLogNode","name":"new","configuration":null}`
	second := saveGraph(t, c, graph(made, 1, []string{foreign, kept(first.Nodes[0], "switch it")}, link(1, 0, "Other"), link(1, 0, "Other")))
	if len(second.Nodes) != 2 || *second.Nodes[0].ID != *first.Nodes[0].ID || second.Nodes[0].Name != "switch it" || *second.FirstNodeIndex != 0 {
		t.Fatalf("saved %+v", second)
	}
	if n := second.Nodes[1]; n.Name != "new" || n.ID.ID == "784f394c-42b6-435a-983c-b7beff2784f9" || !strings.Contains(string(n.Configuration), "jsScript") {
		t.Errorf("a node with somebody else's id, and without a configuration, became %+v", n)
	}
	if diff := cmp.Diff([]linkAnswer{{0, 1, "Other"}}, second.Connections); diff != "" {
		t.Error(diff)
	}
	stale := strings.Replace(graph(made, nil, nil), `{"ruleChainId"`, `{"version":1,"ruleChainId"`, 1)
	c.Do("POST", "/api/ruleChain/metadata", stale).ExpectError(409, 35)
	c.Do("POST", "/api/ruleChain", fmt.Sprintf(`{"id":{"entityType":"RULE_CHAIN","id":%q},"name":"renamed","version":1}`, made.ID.ID)).ExpectError(409, 35)
	var renamed chainAnswer
	c.Do("POST", "/api/ruleChain", fmt.Sprintf(`{"id":{"entityType":"RULE_CHAIN","id":%q},"name":"renamed","version":%d}`, made.ID.ID, second.Version)).Expect(200).JSON(&renamed)
	if renamed.Name != "renamed" || renamed.Version != second.Version+1 || renamed.FirstRuleNodeID == nil {
		t.Errorf("renamed %+v", renamed)
	}
}

func TestGraphsRefused(t *testing.T) {
	c := httpapitest.Start(t, func(o *httpapitest.Options) { o.REST.MaxChain = 20_000 }).Admin(t)
	made := newChain(t, c, "refused")
	nodes := plainNodes()
	for name, is := range map[string]struct {
		body string
		says []string
	}{
		"A8 two nodes in a circle":            {graph(made, 0, nodes, link(0, 1, "a"), link(1, 0, "a")), []string{"circling relations", "switch"}},
		"A8 a node linked to itself":          {graph(made, 0, nodes, link(1, 1, "a")), []string{"save", "itself"}},
		"A8 a circle behind the first node":   {graph(made, 0, nodes, link(0, 1, "a"), link(1, 2, "a"), link(2, 1, "a")), []string{"circling relations"}},
		"a link to no node":                   {graph(made, 0, nodes, link(0, 3, "a")), []string{"connections[0].toIndex", "3"}},
		"a link from no node":                 {graph(made, 0, nodes, link(-1, 1, "a")), []string{"connections[0].fromIndex", "-1"}},
		"a link without relation":             {graph(made, 0, nodes, link(0, 1, "")), []string{"connections[0].type"}},
		"an entry that is not there":          {graph(made, 3, nodes), []string{"firstNodeIndex", "3"}},
		"a negative entry":                    {graph(made, -1, nodes), []string{"firstNodeIndex"}},
		"a bad configuration of a known node": {graph(made, 0, []string{node("telemetry.TbMsgTimeseriesNode", "store it", `{"defaultTTL":"soon"}`)}), []string{"store it", "defaultTTL"}},
		"a node without class":                {graph(made, 0, []string{`{"name":"nameless"}`}), []string{"nameless", "type"}},
		"a legacy link to nowhere": {
			strings.Replace(graph(made, 0, nodes), `"connections"`, `"ruleChainConnections":[{"fromIndex":0,"type":"a"}],"connections"`, 1),
			[]string{"ruleChainConnections[0].targetRuleChainId"},
		},
		"a chain that is too large": {graph(made, 0, []string{node("flow.TbUnheardOfNode", "large", `"`+strings.Repeat("x", 21_000)+`"`)}), []string{"20000"}},
		"a text for an index":       {graph(made, "0", nodes), []string{"firstNodeIndex"}},
		"no chain":                  {`{"nodes":[]}`, []string{"ruleChainId"}},
	} {
		t.Run(name, func(t *testing.T) {
			message := c.Do("POST", "/api/ruleChain/metadata", is.body).ExpectError(400, 31)
			for _, part := range is.says {
				if !strings.Contains(message, part) {
					t.Errorf("%q does not say %q", message, part)
				}
			}
		})
	}
	var read graphAnswer
	c.Get("/api/ruleChain/"+made.ID.ID+"/metadata", &read)
	if len(read.Nodes) != 0 || read.Version != 1 {
		t.Errorf("what was refused is stored: %+v", read)
	}
}

func TestRuleChainsRefused(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	made := newChain(t, c, "in use")
	for name, body := range map[string]string{
		"no name": `{}`, "a second root": `{"name":"x","root":true}`, "an unknown type": `{"name":"x","type":"CLOUD"}`, "markup": `{"name":"<b>"}`,
		"a second root by change":   fmt.Sprintf(`{"id":{"entityType":"RULE_CHAIN","id":%q},"name":"x","root":true}`, made.ID.ID),
		"an info that is no object": `{"name":"x","additionalInfo":5}`,
	} {
		t.Run(name, func(t *testing.T) { c.Do("POST", "/api/ruleChain", body).ExpectError(400, 31) })
	}
	var profile struct{ ID entityRef }
	c.Do("POST", "/api/deviceProfile", fmt.Sprintf(`{"name":"P","defaultRuleChainId":{"entityType":"RULE_CHAIN","id":%q}}`, made.ID.ID)).Expect(200).JSON(&profile)
	if message := c.Do("DELETE", "/api/ruleChain/"+made.ID.ID, nil).ExpectError(400, 31); !strings.Contains(message, "device profiles") {
		t.Errorf("message %q", message)
	}
	c.Do("DELETE", "/api/deviceProfile/"+profile.ID.ID, nil).Expect(200)
	c.Do("POST", "/api/assetProfile", fmt.Sprintf(`{"name":"P","defaultRuleChainId":{"entityType":"RULE_CHAIN","id":%q}}`, made.ID.ID)).Expect(200).JSON(&profile)
	if message := c.Do("DELETE", "/api/ruleChain/"+made.ID.ID, nil).ExpectError(400, 31); !strings.Contains(message, "asset profiles") {
		t.Errorf("message %q", message)
	}
	c.Do("DELETE", "/api/assetProfile/"+profile.ID.ID, nil).Expect(200)
	c.Do("DELETE", "/api/ruleChain/"+made.ID.ID, nil).Expect(200)
}

func TestRuleChainLists(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	var edge chainAnswer
	c.Do("POST", "/api/ruleChain", `{"name":"On the edge","type":"EDGE"}`).Expect(200).JSON(&edge)
	c.Do("POST", "/api/ruleChain/"+edge.ID.ID+"/root", nil).ExpectError(400, 31)
	var standard chainAnswer
	c.Do("POST", "/api/ruleChain/device/default", `{"name":"Standard"}`).Expect(200).JSON(&standard)
	var read graphAnswer
	c.Get("/api/ruleChain/"+standard.ID.ID+"/metadata", &read)
	if len(read.Nodes) != 6 || len(read.Connections) != 5 || *read.FirstNodeIndex != 2 {
		t.Errorf("a default chain is %+v", read)
	}
	for query, want := range map[string][]string{
		"sortProperty=name": {"Root Rule Chain", "Standard"}, "type=EDGE": {"On the edge"}, "type=CORE&textSearch=STAND": {"Standard"},
		"sortProperty=name&sortOrder=DESC": {"Standard", "Root Rule Chain"}, "textSearch=nothing": {},
	} {
		var found struct{ Data []chainAnswer }
		c.Get("/api/ruleChains?pageSize=10&page=0&"+query, &found)
		names := []string{}
		for _, one := range found.Data {
			names = append(names, one.Name)
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	for _, path := range []string{"/api/ruleChains/list", "/api/ruleChains"} {
		var found []chainAnswer
		c.Get(path+"?ruleChainIds="+edge.ID.ID+","+standard.ID.ID, &found)
		if len(found) != 2 {
			t.Errorf("%s lists %d", path, len(found))
		}
	}
}
