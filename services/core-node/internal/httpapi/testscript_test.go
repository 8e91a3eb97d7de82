package httpapi_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

type scriptAnswer struct{ Output, Error string }

func TestB26ScriptsAreTriedOut(t *testing.T) {
	var scripts rulenodetest.Scripts
	c := httpapitest.Start(t, func(o *httpapitest.Options) { o.Scripts = &scripts }).Admin(t)
	try := func(kind, query string) scriptAnswer {
		t.Helper()
		var answer scriptAnswer
		c.Do("POST", "/api/ruleChain/testScript"+query, fmt.Sprintf(
			`{"script":"return 1;","scriptType":%q,"msg":"{\"a\":1.0}","metadata":{"k":"<v>"},"msgType":"T"}`, kind)).Expect(200).JSON(&answer)
		return answer
	}
	for _, is := range []struct{ kind, result, output, failure string }{
		{"filter", `true`, `true`, ""},
		{"filter", `false`, `false`, ""},
		{"filter", `5`, ``, "Wrong result type: NUMBER"},
		{"switch", `["a","b","a"]`, `["a","b"]`, ""},
		{"switch", `"one"`, `["one"]`, ""},
		{"switch", `[]`, `[]`, ""},
		{"json", `{"x":1}`, `{"x":1}`, ""},
		{"json", ``, `null`, ""},
		{"string", `"a\nb"`, "a\nb", ""},
		{"string", `{}`, ``, "Wrong result type: OBJECT"},
		{"update", `{"msg":{"b":2}}`, `{"msg":{"b":2},"metadata":{"k":"<v>"},"msgType":"T"}`, ""},
		{"update", `[{"msg":1},{"msgType":"U"}]`, `[{"msg":1,"metadata":{"k":"<v>"},"msgType":"T"},{"msg":{"a":1.0},"metadata":{"k":"<v>"},"msgType":"U"}]`, ""},
		{"generate", `{"msg":1,"metadata":{"n":5},"msgType":"G"}`, `{"msg":1,"metadata":{"n":"5"},"msgType":"G"}`, ""},
		{"nonsense", `1`, ``, `scriptType: "nonsense" is unknown`},
	} {
		t.Run("B26 "+is.kind+" "+is.result, func(t *testing.T) {
			scripts.Return(is.result)
			if diff := cmp.Diff(scriptAnswer{is.output, is.failure}, try(is.kind, "")); diff != "" {
				t.Error(diff)
			}
		})
	}
	scripts.Throw(errors.New("ReferenceError: x is not defined"))
	if got := try("filter", "?scriptLang=JS"); got != (scriptAnswer{"", "ReferenceError: x is not defined"}) {
		t.Errorf("a script that throws answers %+v", got)
	}
	scripts.Refuse = errors.New("SyntaxError: Unexpected end of input")
	if got := try("filter", ""); got.Error != "SyntaxError: Unexpected end of input" {
		t.Errorf("a script that does not compile answers %+v", got)
	}
	prepared := scripts.Prepared()
	if diff := cmp.Diff([]string{"msg", "metadata", "msgType"}, prepared[0].Parameters); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{`{"a":1.0}`, `{"k":"\u003cv\u003e"}`, "T"}, scripts.Calls()[0]); diff != "" {
		t.Errorf("arguments: %s", diff)
	}
}

func TestB23TBELIsRefusedClearly(t *testing.T) {
	var scripts rulenodetest.Scripts
	c := httpapitest.Start(t, func(o *httpapitest.Options) { o.Scripts = &scripts }).Admin(t)
	var answer scriptAnswer
	c.Do("POST", "/api/ruleChain/testScript?scriptLang=TBEL", `{"script":"return true;","scriptType":"filter","msg":"{}"}`).Expect(200).JSON(&answer)
	if answer.Output != "" || !strings.Contains(answer.Error, "TBEL") || len(scripts.Prepared()) != 0 {
		t.Errorf("answer %+v, prepared %v", answer, scripts.Prepared())
	}
	if got := string(c.Do("GET", "/api/ruleChain/tbelEnabled", nil).Expect(200).Body); got != "false" {
		t.Errorf("tbelEnabled is %s", got)
	}
}

func TestScriptsThatCannotBeTriedOut(t *testing.T) {
	var scripts rulenodetest.Scripts
	c := httpapitest.Start(t, func(o *httpapitest.Options) { o.Scripts = &scripts }).Admin(t)
	for name, is := range map[string]struct{ query, body, says string }{
		"a message that is no JSON": {"", `{"script":"return true;","scriptType":"filter","msg":"hello"}`, "JSON"},
		"an unknown language":       {"?scriptLang=LUA", `{"script":"return true;","scriptType":"filter","msg":"{}"}`, "LUA"},
	} {
		t.Run(name, func(t *testing.T) {
			var answer scriptAnswer
			c.Do("POST", "/api/ruleChain/testScript"+is.query, is.body).Expect(200).JSON(&answer)
			if !strings.Contains(answer.Error, is.says) || len(scripts.Prepared()) != 0 {
				t.Errorf("answer %+v", answer)
			}
		})
	}
	c.Do("POST", "/api/ruleChain/testScript", `{"script":5}`).ExpectError(400, 31)
}
