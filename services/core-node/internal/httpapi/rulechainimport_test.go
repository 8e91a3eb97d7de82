package httpapi_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

// importDocument does what the reference's UI does with a file of one exported chain.
func importDocument(t *testing.T, c *httpapitest.Client, document string) graphAnswer {
	t.Helper()
	var file struct {
		RuleChain json.RawMessage
		Metadata  map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(document), &file); err != nil {
		t.Fatal(err)
	}
	var made chainAnswer
	c.Do("POST", "/api/ruleChain", []byte(file.RuleChain)).Expect(200).JSON(&made)
	file.Metadata["ruleChainId"] = json.RawMessage(fmt.Sprintf(`{"entityType":"RULE_CHAIN","id":%q}`, made.ID.ID))
	var saved graphAnswer
	c.Do("POST", "/api/ruleChain/metadata", file.Metadata).Expect(200).JSON(&saved)
	return saved
}

// oldRoot is the default root chain of 2.5.
const oldRoot = `{"ruleChain":{"additionalInfo":null,"name":"Old Root","firstRuleNodeId":null,"root":false,"debugMode":false,"configuration":null},
"metadata":{"firstNodeIndex":2,"nodes":[
 {"additionalInfo":{"layoutX":824,"layoutY":156},"type":"org.thingsboard.rule.engine.telemetry.TbMsgTimeseriesNode","name":"Save Timeseries","debugMode":false,"configuration":{"defaultTTL":0}},
 {"additionalInfo":{"layoutX":825,"layoutY":52},"type":"org.thingsboard.rule.engine.telemetry.TbMsgAttributesNode","name":"Save Client Attributes","debugMode":false,"configuration":{"scope":"CLIENT_SCOPE"}},
 {"additionalInfo":{"layoutX":347,"layoutY":149},"type":"org.thingsboard.rule.engine.filter.TbMsgTypeSwitchNode","name":"Message Type Switch","debugMode":false,"configuration":{"version":0}}],
"connections":[{"fromIndex":2,"toIndex":0,"type":"Post telemetry"},{"fromIndex":2,"toIndex":1,"type":"Post attributes"}],"ruleChainConnections":null}}`

func TestA1DefaultRootChain(t *testing.T) {
	document, err := os.ReadFile("../entity/rootchain.json")
	if err != nil {
		t.Fatal(err)
	}
	saved := importDocument(t, httpapitest.Start(t).Admin(t), strings.Replace(string(document), `"root": true`, `"root": false`, 1))
	if len(saved.Nodes) != 6 || len(saved.Connections) != 5 || *saved.FirstNodeIndex != 2 {
		t.Errorf("imported %+v", saved)
	}
}

func TestA2DefaultRootChainOf25(t *testing.T) {
	saved := importDocument(t, httpapitest.Start(t).Admin(t), oldRoot)
	var config map[string]any
	if err := json.Unmarshal(saved.Nodes[1].Configuration, &config); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"scope": "CLIENT_SCOPE", "notifyDevice": true, "sendAttributesUpdatedNotification": false, "updateAttributesOnlyOnValueChange": false,
		"processingSettings": map[string]any{"type": "ON_EVERY_MESSAGE"},
	}
	if diff := cmp.Diff(want, config); diff != "" || saved.Nodes[1].ConfigurationVersion != 3 {
		t.Errorf("version %d:\n%s", saved.Nodes[1].ConfigurationVersion, diff)
	}
}

func TestA3DefaultRootChainOf32(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	made := newChain(t, c, "with profiles")
	saved := saveGraph(t, c, graph(made, 3, append(plainNodes(), node("profile.TbDeviceProfileNode", "Device Profile Node", `{"persistAlarmRulesState":false}`)),
		link(3, 0, "Success"), link(0, 1, "Post telemetry")))
	if len(saved.Nodes) != 4 || *saved.FirstNodeIndex != 3 || len(saved.Connections) != 2 {
		t.Errorf("imported %+v", saved)
	}
}

func TestA4LegacyChainLinks(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	target, made := newChain(t, c, "the target"), newChain(t, c, "legacy")
	body := strings.Replace(graph(made, 0, plainNodes(), link(0, 1, "Post telemetry")), `"connections"`,
		fmt.Sprintf(`"ruleChainConnections":[{"fromIndex":0,"targetRuleChainId":{"entityType":"RULE_CHAIN","id":%q},"additionalInfo":{"layoutX":1},"type":"Other"},`+
			`{"fromIndex":0,"targetRuleChainId":{"entityType":"RULE_CHAIN","id":"784f394c-42b6-435a-983c-b7beff2784f9"},"type":"Alarm"}],"connections"`, target.ID.ID), 1)
	saved := saveGraph(t, c, body)
	if len(saved.Nodes) != 5 || string(saved.RuleChainConnections) != "null" {
		t.Fatalf("saved %+v", saved)
	}
	entering := saved.Nodes[3]
	var config struct {
		RuleChainID                  string
		ForwardMsgToDefaultRuleChain bool
	}
	if err := json.Unmarshal(entering.Configuration, &config); err != nil {
		t.Fatal(err)
	}
	if entering.Type != classes+"flow.TbRuleChainInputNode" || entering.Name != "the target" || config.RuleChainID != target.ID.ID {
		t.Errorf("the link became %+v", entering)
	}
	if saved.Nodes[4].Name != "Rule Chain Input" || !slices.Contains(saved.Connections, linkAnswer{0, 3, "Other"}) || !slices.Contains(saved.Connections, linkAnswer{0, 4, "Alarm"}) {
		t.Errorf("saved %+v", saved)
	}
}

func TestA6UnknownClassIsKeptVerbatim(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	made := newChain(t, c, "strange")
	saveGraph(t, c, graph(made, 0, plainNodes()))
	const kept = `{"b":1.0,"a":"<&>","c":[1e3]}`
	for _, path := range []string{"/api/ruleChain/" + made.ID.ID + "/metadata", "/api/ruleChains/export?limit=10"} {
		if body := string(c.Do("GET", path, nil).Expect(200).Body); !strings.Contains(body, kept) {
			t.Errorf("%s does not have %s: %s", path, kept, body)
		}
	}
}

var idPattern = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// anonymous numbers ids in the order they come up.
func anonymous(body []byte) string {
	seen := map[string]string{"13814000-1dd2-11b2-8080-808080808080": "none"}
	return idPattern.ReplaceAllStringFunc(string(body), func(id string) string {
		if seen[id] == "" {
			seen[id] = fmt.Sprint("id ", len(seen))
		}
		return seen[id]
	})
}

type outcomeAnswer struct {
	RuleChainID   *entityRef
	RuleChainName string
	Updated       bool
	Error         *string
}

func TestA7ExportImportExport(t *testing.T) {
	p := httpapitest.Start(t)
	c := p.Admin(t)
	inner, outer := newChain(t, c, "inner"), newChain(t, c, "outer")
	saveGraph(t, c, graph(inner, 0, plainNodes(), link(0, 1, "Post telemetry")))
	enter := node("flow.TbRuleChainInputNode", "enter", fmt.Sprintf(`{"ruleChainId":%q,"forwardMsgToDefaultRuleChain":false}`, inner.ID.ID))
	saveGraph(t, c, graph(outer, 1, append(plainNodes(), enter), link(1, 3, "Success")))
	exported := c.Do("GET", "/api/ruleChains/export?limit=100", nil).Expect(200).Body
	for _, id := range []string{inner.ID.ID, outer.ID.ID, "RULE_NODE"} {
		if strings.Contains(string(exported), id) {
			t.Errorf("the export tells %s", id)
		}
	}
	p.Tenant(t, "another", "another@example.org", "another-1")
	other := p.Login(t, "another@example.org", "another-1")
	var outcomes []outcomeAnswer
	other.Do("POST", "/api/ruleChains/import?overwrite=true", exported).Expect(200).JSON(&outcomes)
	if len(outcomes) != 3 || !outcomes[0].Updated || outcomes[1].Updated || outcomes[2].Error != nil {
		t.Fatalf("outcomes %+v", outcomes)
	}
	if rootID(t, other) != outcomes[0].RuleChainID.ID {
		t.Error("the root is another chain than before")
	}
	again := other.Do("GET", "/api/ruleChains/export?limit=100", nil).Expect(200).Body
	if diff := cmp.Diff(anonymous(exported), anonymous(again)); diff != "" {
		t.Errorf("exported, imported, exported (-first +second):\n%s", diff)
	}
	var read graphAnswer
	other.Get("/api/ruleChain/"+outcomes[2].RuleChainID.ID+"/metadata", &read)
	if want := outcomes[1].RuleChainID.ID; !strings.Contains(string(read.Nodes[3].Configuration), want) {
		t.Errorf("the node enters %s, want the imported %s", read.Nodes[3].Configuration, want)
	}
	other.Do("POST", "/api/ruleChains/import", exported).Expect(200).JSON(&outcomes)
	var found struct{ TotalElements int }
	other.Get("/api/ruleChains?pageSize=1&page=0", &found)
	if found.TotalElements != 6 || outcomes[0].Updated {
		t.Errorf("%d chains after an import beside what was there, outcomes %+v", found.TotalElements, outcomes)
	}
}

func TestImportKeepsTheSoundChains(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	id := func(n int) string {
		return fmt.Sprintf(`{"entityType":"RULE_CHAIN","id":"784f394c-42b6-435a-983c-b7beff2784f%d"}`, n)
	}
	body := fmt.Sprintf(`{"ruleChains":[{"id":%[1]s,"name":"sound"},{"id":%[2]s,"name":"circling"},{"id":%[3]s,"name":""}],"metadata":[`+
		`{"ruleChainId":%[1]s,"nodes":[],"connections":null},{"ruleChainId":%[2]s,"nodes":[%[4]s],"connections":[%[5]s]},{"ruleChainId":%[3]s,"nodes":[]}]}`,
		id(1), id(2), id(3), plainNodes()[0], link(0, 0, "a"))
	var outcomes []outcomeAnswer
	c.Do("POST", "/api/ruleChains/import", body).Expect(200).JSON(&outcomes)
	if len(outcomes) != 3 || outcomes[0].Error != nil || outcomes[0].RuleChainID == nil {
		t.Fatalf("outcomes %+v", outcomes)
	}
	for i, says := range map[int]string{1: "itself", 2: "name"} {
		if o := outcomes[i]; o.Error == nil || !strings.Contains(*o.Error, says) || o.RuleChainID != nil {
			t.Errorf("outcome %d: %+v", i, o)
		}
	}
	for name, body := range map[string]string{
		"metadata of nobody":       fmt.Sprintf(`{"ruleChains":[],"metadata":[{"ruleChainId":%s}]}`, id(1)),
		"a chain without metadata": fmt.Sprintf(`{"ruleChains":[{"id":%s,"name":"x"}],"metadata":[]}`, id(1)),
		"one id twice":             fmt.Sprintf(`{"ruleChains":[],"metadata":[{"ruleChainId":%[1]s},{"ruleChainId":%[1]s}]}`, id(1)),
	} {
		t.Run(name, func(t *testing.T) { c.Do("POST", "/api/ruleChains/import", body).ExpectError(400, 31) })
	}
	c.Do("GET", "/api/ruleChains/export", nil).ExpectError(400, 31)
	c.Do("GET", "/api/ruleChains/export?limit=0", nil).ExpectError(400, 31)
}

func TestOutputLabels(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	inner, outer := newChain(t, c, "inner"), newChain(t, c, "outer")
	out := func(name string) string { return node("flow.TbRuleChainOutputNode", name, `{}`) }
	saved := saveGraph(t, c, graph(inner, 0, []string{plainNodes()[0], out("Ok"), out("Bad"), out("Bad")}, link(0, 1, "Post telemetry")))
	enter := node("flow.TbRuleChainInputNode", "enter", fmt.Sprintf(`{"ruleChainId":%q}`, inner.ID.ID))
	saveGraph(t, c, graph(outer, 0, []string{enter, plainNodes()[1], plainNodes()[1]}, link(0, 1, "Ok"), link(0, 2, "Bad"), link(1, 2, "Ok")))
	var labels []string
	c.Get("/api/ruleChain/"+inner.ID.ID+"/output/labels", &labels)
	if diff := cmp.Diff([]string{"Bad", "Ok"}, labels); diff != "" {
		t.Error(diff)
	}
	var usages []struct {
		RuleChainName, RuleNodeName string
		Labels                      []string
	}
	c.Get("/api/ruleChain/"+inner.ID.ID+"/output/labels/usage", &usages)
	if len(usages) != 1 || usages[0].RuleChainName != "outer" || usages[0].RuleNodeName != "enter" || !slices.Equal(usages[0].Labels, []string{"Ok", "Bad"}) {
		t.Errorf("usages %+v", usages)
	}
	renamed := func(i int, name string) string {
		n := saved.Nodes[i]
		return fmt.Sprintf(`{"id":{"entityType":"RULE_NODE","id":%q},"type":%q,"name":%q,"configuration":{}}`, n.ID.ID, n.Type, name)
	}
	// "Ok" becomes "Fine"; "Bad" becomes two names, so that nobody knows which is meant.
	saveGraph(t, c, graph(inner, 0, []string{renamed(0, "switch"), renamed(1, "Fine"), renamed(2, "Worse"), renamed(3, "Worst")}))
	var read graphAnswer
	c.Get("/api/ruleChain/"+outer.ID.ID+"/metadata", &read)
	if diff := cmp.Diff([]linkAnswer{{0, 1, "Fine"}, {0, 2, "Bad"}, {1, 2, "Ok"}}, read.Connections); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}
