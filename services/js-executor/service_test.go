package jsexecutor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/proto/script"
)

func TestScriptsRunInProcessesOfTheirOwn(t *testing.T) {
	broker := bustest.Broker(t)
	e := run(t, broker, "executor", func(c *Config) { c.Idle = 100 * time.Millisecond })
	c := dial(t, broker, "core")
	for range 3 {
		if a := c.ask(call{body: "return msg.temperature > 20;"}); a.Outcome != script.OK || a.Text != "true" {
			t.Fatalf("got %+v", a)
		}
	}
	if n := e.count(t, "js_executor_processes"); n < 1 {
		t.Errorf("%v processes", n)
	}
	for deadline := time.Now().Add(patience); e.count(t, "js_executor_processes") > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("processes that nobody needs go on")
		}
	}
	if a := c.ask(call{body: "return 2", bodiless: false}); a.Text != "2" {
		t.Errorf("after a rest: %+v", a)
	}
}

func TestLanguage(t *testing.T) {
	broker := bustest.Broker(t)
	run(t, broker, "executor", nil)
	c := dial(t, broker, "core")
	generate := []string{"prevMsg", "prevMetadata", "prevMsgType"}
	for _, k := range []struct {
		name       string
		body       string
		text       string // of the result; of the error with what before it
		outcome    script.Outcome
		parameters []string
		msg        string
	}{
		{name: "B1 a filter", body: `return msg.temperature > 20;`, text: `true`},
		{name: "B1 a filter of nothing", body: `return msg.temperature > 20;`, msg: `{}`, text: `false`},
		{name: "B3 no return", body: `msg.x=1;`, text: ``},
		{name: "B4 null", body: `return null`, text: `null`},
		{name: "B12 a body that is no JSON", body: `return 1`, msg: `hello`, outcome: script.Runtime, text: `JSON`},
		{name: "B12 an empty body", body: `return 1`, msg: ``, outcome: script.Runtime, text: `JSON`},
		{name: "B13 an array", body: `return {msg: msg.length}`, msg: `[1,2]`, text: `{"msg":2}`},
		{name: "B14 metadata values are texts", body: `return typeof metadata.ts === "string"`, text: `true`},
		{name: "B17 a generator's names", body: `return typeof msg + typeof prevMsg`, parameters: generate, text: `"undefinedobject"`},
		{name: "B17 a transformation's names", body: `return typeof msg + typeof prevMsg`, text: `"objectundefined"`},
		{name: "B19 a comment at the end", body: `return 3 // tail comment`, text: `3`},
		{name: "B19 a comment without end", body: `return 3 /* tail`, outcome: script.Compilation, text: `SyntaxError`},
		{name: "B20 destructuring, spread and ??", body: `const {a,...r}=msg; return {msg:{r, d: msg?.z ?? "d"}}`, msg: `{"a":1,"b":2}`, text: `{"msg":{"r":{"b":2},"d":"d"}}`},
		{name: "B21 functions used before they are there, no semicolons", body: "function nextRelation(metadata, msg) {\n return ['one','nine']\n}\nif(msgType === 'POST_TELEMETRY_REQUEST') {\n return ['two']\n}\nreturn nextRelation(metadata, msg)", text: `["two"]`},
		{name: "B21 var and hoisting", body: "x = f(); var x\nreturn x\nfunction f() { return 5 }", text: `5`},
		{name: "B24 a result of 300 000 characters", body: `return "x".repeat(299998)`, text: `"` + strings.Repeat("x", 299_998) + `"`},
		{name: "B24 a result of 300 001 characters", body: `return "x".repeat(299999)`, outcome: script.ResultTooLarge, text: `too large`},
		{name: "B27 emoji, separators and surrogates", body: `return msg`, msg: `"😀\u2028é` + "\u2028" + `"`, text: "\"😀\u2028é\u2028\""},
		{name: "B27 a lone surrogate", body: `return msg`, msg: `"\ud800"`, text: `"\ud800"`},
		{name: "B28 a large integer", body: `return {msg: msg}`, msg: `9007199254740993`, text: `{"msg":9007199254740992}`},
		{name: "1e400", body: `return msg`, msg: `1e400`, text: `null`},
		{name: "1.0", body: `return msg`, msg: `1.0`, text: `1`},
		{name: "BigInt", body: `return 10n`, outcome: script.Runtime, text: `TypeError`},
		{name: "cyclic", body: `var a={}; a.a=a; return a`, outcome: script.Runtime, text: `TypeError`},
		{name: "line of an error", body: "var x = 1;\n\nthrow new TypeError('deep')", outcome: script.Runtime, text: `TypeError: deep in at line number 3`},
		{name: "dates, maps, undefined", body: `return {d: new Date(0), m: new Map([[1,2]]), u: undefined}`, text: `{"d":"1970-01-01T00:00:00.000Z","m":{}}`},
		{name: "what has no JSON: a symbol", body: `return Symbol("a")`, text: ``},
		{name: "what has no JSON: a function", body: `return function(){}`, text: ``},
		{name: "what has no JSON: what says so", body: `return {toJSON(){return undefined}}`, text: ``},
		{name: "what says it is null", body: `return {toJSON(){return null}}`, text: `null`},
		{name: "what is told its key", body: `return {toJSON(k){return [k, typeof this]}}`, text: `["","object"]`},
		{name: "objects of primitives", body: `return [new Boolean(false), new Number(1), new String("a")]`, text: `[false,1,"a"]`},
		{name: "an object of false", body: `return new Boolean(false)`, text: `false`},
		{name: "every object's toJSON", body: `Object.prototype.toJSON = function(){ return 7 }; return {a: 1}`, text: `7`},
		{name: "every object's toJSON, and none", body: `Object.prototype.toJSON = function(){ return 7 }; return "a"`, text: `"a"`},
		{name: "every object's key without a name", body: `Object.defineProperty(Object.prototype, "", {set(v){}, get(){return 8}}); return [1]`, text: `[1]`},
		{name: "absent globals", body: `return [typeof setTimeout, typeof setInterval, typeof queueMicrotask, typeof URL, typeof TextEncoder, typeof atob, typeof structuredClone].filter(x => x !== "undefined")`, text: `[]`},
	} {
		t.Run(k.name, func(t *testing.T) {
			args := []string{`{"temperature":21}`, `{"ts":"1"}`, "POST_TELEMETRY_REQUEST"}
			if k.msg != "" || strings.Contains(k.name, "empty") {
				args[0] = k.msg
			}
			a := c.ask(call{body: k.body, parameters: k.parameters, args: args})
			same := a.Text == k.text
			if k.outcome != script.OK {
				same = strings.Contains(a.Text, k.text)
			}
			if a.Outcome != k.outcome || !same || a.Undefined != (k.text == "") {
				t.Errorf("got %v %.200q, want %v %.200q", a.Outcome, a.Text, k.outcome, k.text)
			}
		})
	}
}

func TestE1_AnUnknownScriptIsAskedFor(t *testing.T) {
	broker := bustest.Broker(t)
	run(t, broker, "executor", nil)
	c := dial(t, broker, "core")
	k := call{body: "return 1", bodiless: true}
	if a := c.ask(k); a.Outcome != script.NotFound {
		t.Errorf("without its text: %+v", a)
	}
	k.bodiless = false
	if a := c.ask(k); a.Text != "1" {
		t.Errorf("with it: %+v", a)
	}
	k.bodiless = true
	if a := c.ask(k); a.Text != "1" {
		t.Errorf("without it again: %+v", a)
	}
	k = call{body: "return 2"}
	request := k.request()
	request.Body = "return 3"
	done := make(chan script.Answer, 1)
	e := run(t, broker, "other", nil)
	e.crew.Submit(request, 0, func(a *script.Answer) { done <- *a })
	if a := <-done; a.Outcome != script.Compilation {
		t.Errorf("a text that is another script's: %+v", a)
	}
}

func TestE2_ExpiredCallsAreNotRun(t *testing.T) {
	broker := bustest.Broker(t)
	c := dial(t, broker, "core")
	late := c.begin(call{body: "return 1", budget: 50 * time.Millisecond})[0]
	time.Sleep(200 * time.Millisecond)
	c.begin(call{body: "return 1"}) // a newer record tells the age of the first
	e := run(t, broker, "executor", nil)
	if a := c.ask(call{body: "return 1"}); a.Text != "1" {
		t.Errorf("got %+v", a)
	}
	select {
	case a := <-late:
		t.Errorf("an expired call is answered %+v", a)
	default:
	}
	if n := e.count(t, "js_executor_expired_calls_total"); n != 1 {
		t.Errorf("%v expired calls are counted", n)
	}
}

func TestE7_CompilingTellsTheLineAndRunsNothing(t *testing.T) {
	broker := bustest.Broker(t)
	run(t, broker, "executor", nil)
	c := dial(t, broker, "core")
	for range 2 { // the second time it is there
		if a := c.ask(call{body: "while(true){}", compile: true}); a.Outcome != script.OK {
			t.Errorf("got %+v", a)
		}
	}
	if a := c.ask(call{body: "var a;\nvar b = ;", compile: true}); a.Outcome != script.Compilation || a.Line != 2 {
		t.Errorf("got %+v", a)
	}
}

func TestC29_ThousandsOfScripts(t *testing.T) {
	const scripts, kept = 300, 50
	broker := bustest.Broker(t)
	e := run(t, broker, "executor", func(c *Config) { c.Programs = kept })
	c := dial(t, broker, "core")
	again := 0
	for round := range 2 {
		for i := range scripts {
			k := call{body: fmt.Sprint("return ", i), bodiless: round == 1}
			a := c.ask(k)
			if a.Outcome == script.NotFound {
				again++
				k.bodiless = false
				a = c.ask(k)
			}
			if a.Text != fmt.Sprint(i) {
				t.Fatalf("script %d: %+v", i, a)
			}
		}
	}
	if again < scripts-kept || e.crew.Texts() > kept {
		t.Errorf("%d texts were asked for again, %d are kept", again, e.crew.Texts())
	}
}

func TestC31_AFloodIsRefused(t *testing.T) {
	broker := bustest.Broker(t)
	run(t, broker, "executor", func(c *Config) { c.TenantQueue = 10 })
	c := dial(t, broker, "core")
	var calls []call
	for range 30 {
		calls = append(calls, call{body: "var end=Date.now()+50; while(Date.now()<end); return 1"})
	}
	refused := 0
	for _, end := range c.begin(calls...) {
		if a := <-end; a.Outcome == script.Pending {
			refused++
		} else if a.Text != "1" {
			t.Errorf("got %+v", a)
		}
	}
	if refused != 20 {
		t.Errorf("%d of 30 calls were refused, with room for 10", refused)
	}
}

func TestWithoutAProcessNothingIsRun(t *testing.T) {
	broker := bustest.Broker(t)
	c := dial(t, broker, "core")
	s, err := New(configured(t, func(c *Config) { c.Command = []string{"/bin/false"} }), "executor", c.client, process.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--script-sandbox=weak") {
		t.Errorf("it ended with %v", err)
	}
}

func TestSettingsThatCannotWork(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"script-sandbox":    func(c *Config) { c.Sandbox = "none" },
		"executor-children": func(c *Config) { c.Children = 0 },
		"executor-memory":   func(c *Config) { c.Memory = 1 },
		"executor-group":    func(c *Config) { c.Group = "" },
	} {
		if _, err := New(configured(t, change), "executor", nil, process.Env{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
