package chain

import (
	"strings"
	"testing"
)

func TestLintNamesThePlace(t *testing.T) {
	const (
		class    = `{"type":"org.thingsboard.rule.engine.`
		filter   = class + `filter.TbJsFilterNode","name":"F","configuration":{"jsScript":"return true;"}}`
		save     = class + `telemetry.TbMsgTimeseriesNode","name":"S","configuration":{"defaultTTL":0}}`
		negative = class + `telemetry.TbMsgTimeseriesNode","name":"S","configuration":{"defaultTTL":-1}}`
		rest     = class + `rest.TbRestApiCallNode","name":"R","configuration":{"restEndpointUrlPattern":"http://a.test","requestMethod":"POST"}}`
		input    = class + `flow.TbRuleChainInputNode","name":"I","configuration":{"ruleChainId":"9c6b1f10-2d4e-11ef-9a37-5b1c7f0d3a02"}}`
	)
	for _, c := range []struct{ name, file, want string }{
		{"not JSON", "{\n\"ruleChain\": }", `error: line 2`},
		{"another JSON", `{"a":1}`, `ruleChain: error: this is no exported rule chain`},
		{"a wrong type", "{\"ruleChain\":{\"name\":\"C\"},\"metadata\":{\"nodes\":\n{}}}", `metadata: error: line 2: nodes: a object`},
		{"no name", `{"ruleChain":{},"metadata":{"firstNodeIndex":0,"nodes":[` + save + `]}}`, `ruleChain.name: error: a name is needed`},
		{"no class", chainOf(`{"name":"X"}`, ""), `node 0 "X": type: error: a class is needed`},
		{"an unknown class", chainOf(`{"type":"com.acme.Node","name":"X"}`, ""), `node 0 "X": type: error: com.acme.Node is not known`},
		{"a class that is not built", chainOf(class+`ai.TbAiNode","name":"X"}`, ""), `type: error: org.thingsboard.rule.engine.ai.TbAiNode is not built yet`},
		{"TBEL", chainOf(class+`filter.TbJsFilterNode","name":"X","configuration":{"scriptLang":"TBEL","tbelScript":"return true;"}}`, ""), `node 0 "X": configuration.tbelScript: error: scripts in TBEL are not run here`},
		{"a configuration that is refused", chainOf(negative, ""), `node 0 "S": configuration.defaultTTL: error: -1 is not`},
		{"a script that does not compile", chainOf(class+`filter.TbJsFilterNode","name":"X","configuration":{"jsScript":"return msg.;"}}`, ""), `node 0 "X": configuration.jsScript: error: SyntaxError`},
		{"a script that is refused", chainOf(class+`filter.TbJsFilterNode","name":"X","configuration":{"jsScript":"await x; return true;"}}`, ""), `node 0 "X": configuration.jsScript: error: Script must not contain 'await'`},
		{"an alarm's script", chainOf(class+`action.TbCreateAlarmNode","name":"X","configuration":{"alarmType":"a","severity":"MAJOR","alarmDetailsBuildJs":"return {"}}`, ""), `configuration.alarmDetailsBuildJs: error: SyntaxError`},
		{"a link from nowhere", chainOf(save, `{"fromIndex":3,"toIndex":0,"type":"Success"}`), `metadata.connections[0].fromIndex: error: there is no node 3`},
		{"a link to itself", chainOf(save, `{"fromIndex":0,"toIndex":0,"type":"Success"}`), `metadata.connections[0]: error: node 0 "S" is connected to itself`},
		{"a circle", chainOf(save+","+save, `{"fromIndex":0,"toIndex":1,"type":"Success"},{"fromIndex":1,"toIndex":0,"type":"Success"}`), `metadata.connections: error: node 0 "S" is on a circle`},
		{"an entry that is not there", `{"ruleChain":{"name":"C"},"metadata":{"firstNodeIndex":4,"nodes":[` + save + `]}}`, `metadata.firstNodeIndex: error: there is no node 4`},
		{"an old link without a chain", `{"ruleChain":{"name":"C"},"metadata":{"firstNodeIndex":0,"nodes":[` + save + `],"ruleChainConnections":[{"fromIndex":0,"type":"Success"}]}}`, `metadata.ruleChainConnections[0].targetRuleChainId: error: an id is needed`},
		{"metadata without its chain", `{"ruleChains":[{"id":{"entityType":"RULE_CHAIN","id":"9c6b1f10-2d4e-11ef-9a37-5b1c7f0d3a02"},"name":"C"}],"metadata":[]}`, `ruleChains[0].id: error: there is no metadata with this ruleChainId`},
		{"no entry", `{"ruleChain":{"name":"C"},"metadata":{"nodes":[` + save + `]}}`, `metadata.firstNodeIndex: warning: there is none`},
		{"a node nothing leads to", chainOf(save+","+filter, ""), `node 1 "F": warning: no message reaches the node`},
		{"a filter that leads nowhere", chainOf(filter, ""), `node 0 "F": warning: nothing is linked to the node`},
		{"Failure outside", chainOf(rest, ""), `node 0 "R": warning: nothing is linked by Failure`},
		{"a relation that is never taken", chainOf(save+","+save, `{"fromIndex":0,"toIndex":1,"type":"True"}`), `node 0 "S": metadata.connections[0].type: warning: the node never leaves by "True"`},
		{"a chain that is elsewhere", chainOf(input, ""), `node 0 "I": configuration.ruleChainId: warning: 9c6b1f10-2d4e-11ef-9a37-5b1c7f0d3a02 is not in this file`},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := ran(t, &Lint{Files: []string{write(t, "a.json", c.file)}})
			if !strings.Contains(out, c.want) {
				t.Errorf("printed\n%swant a line with %s", out, c.want)
			}
			if wrong := strings.Contains(out, "error: "); wrong != (err != nil) {
				t.Errorf("the error is %v, printed\n%s", err, out)
			}
		})
	}
}

func TestLintTellsOfEverythingAtOnce(t *testing.T) {
	file := chainOf(`{"type":"a","name":"A"},{"type":"b","name":"B"}`, `{"fromIndex":0,"toIndex":9,"type":"Success"},{"fromIndex":0,"toIndex":1,"type":""}`)
	out, err := ran(t, &Lint{Files: []string{write(t, "a.json", file), write(t, "b.json", "[]")}})
	if err == nil || err.Error() != "5 errors in 2 files" {
		t.Errorf("error %v; printed\n%s", err, out)
	}
}
