package chain

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/process"
	corenode "github.com/sluice-iot/sluice/services/core-node"
	jsexecutor "github.com/sluice-iot/sluice/services/js-executor"
)

// TestMain makes the tests' own program that of the processes which run scripts, as main does.
func TestMain(m *testing.M) {
	if jsexecutor.IsChild(os.Args) {
		os.Exit(jsexecutor.Child(os.Args))
	}
	goleak.VerifyTestMain(m)
}

// chains are exported chains with their cases.
const chains = "../../tests/system/chains"

// ran runs a command and returns what it printed.
func ran(t *testing.T, c process.Command) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := c.Run(t.Context(), process.Invocation{Stdout: &out})
	return out.String(), err
}

func test(path string) *Test {
	return &Test{Path: path, Type: "POST_TELEMETRY_REQUEST", Device: "Device"}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCasesOfExportedChains(t *testing.T) {
	out, err := ran(t, test(chains))
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if n := strings.Count(out, "ok    "); n < 12 {
		t.Errorf("%d cases passed:\n%s", n, out)
	}
}

func TestExportedChainsAreSound(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(chains, "*"+chainSuffix))
	if err != nil || len(files) < 12 {
		t.Fatalf("%d chains, %v", len(files), err)
	}
	out, err := ran(t, &Lint{Files: files, JSON: true})
	var problems []problem
	if err := json.Unmarshal([]byte(out), &problems); err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.Contains(p.Text, "rpc.TbSendRPCRequestNode is not built yet") {
			t.Error(p)
		}
	}
	if (err != nil) != (len(problems) > 0) {
		t.Errorf("%d problems, and the error is %v", len(problems), err)
	}
}

func TestACaseThatFailsSaysHow(t *testing.T) {
	bundle, err := filepath.Abs(filepath.Join(chains, "nested.chain.json"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(write(t, "wrong.case.json", `{"chain":"nested.chain.json","messages":[{"device":"Hall","body":{"temperature":35}}],
		"expect":[{"node":"Mark hot","body":{"temperature":36}},{"node":"Mark normal"},{"node":"By temperature","relation":"cool"}],
		"never":["Mark hot"],"sent":[{"node":"Mark hot"}],"errors":["nothing"],"stored":{"Hall":{"telemetry":{"state":"cold","more":1}},"Attic":{}}}`))
	if err := os.Symlink(bundle, filepath.Join(dir, "nested.chain.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "misspelt.case.json"), []byte(`{"message":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := ran(t, test(dir))
	if err == nil || err.Error() != "2 of 2 cases failed" {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{
		`unknown field "message"`,
		"expect[0]: node \"Mark hot\": not as expected\n      body.temperature: want 36, got 35",
		`expect[1]: node "Mark normal": no message reached it`,
		`expect[2]: node "By temperature" → cool: messages left it by warm`,
		`never: node "Mark hot" was entered by POST_TELEMETRY_REQUEST`,
		`stored.Hall.telemetry.more: want 1, it is not there`,
		`stored.Hall.telemetry.state: want "cold", got "hot"`,
		`stored: there is nothing of "Attic"`,
		`sent[0]: node "Mark hot": nothing would be sent by it`,
		`errors[0]: no message ended with "nothing"`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("not said: %s", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestOneMessageIsReproducible(t *testing.T) {
	c := test(filepath.Join(chains, "rest-call"+chainSuffix))
	c.Message, c.Metadata, c.Now = `{"temperature":21}`, `{"room":"Kitchen"}`, standardNow
	c.Outcome = []string{"Ask forecast=Failure"}
	first, err := ran(t, c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ran(t, c)
	if err != nil {
		t.Fatal(err)
	}
	want := `POST_TELEMETRY_REQUEST of Device, given, in "Forecast by REST"
  Telemetry only → True
      POST_TELEMETRY_REQUEST {"temperature":21} {"deviceName":"Device","deviceType":"default","room":"Kitchen","ts":"1767225600000"}
  Ask forecast → Failure
      POST_TELEMETRY_REQUEST {"temperature":21} {"deviceName":"Device","deviceType":"default","error":"the try has it fail","room":"Kitchen","ts":"1767225600000"}
      error: the try has it fail
  Note the failure → Success
      POST_TELEMETRY_REQUEST {"forecastFailed":1} {"deviceName":"Device","deviceType":"default","error":"the try has it fail","room":"Kitchen","ts":"1767225600000"}
  Save forecast → Success  stored 1
      POST_TELEMETRY_REQUEST {"forecastFailed":1} {"deviceName":"Device","deviceType":"default","error":"the try has it fail","room":"Kitchen","ts":"1767225600000"}
would send by "Ask forecast": POST http://forecast.test/devices/Device {"temperature":21}
stored of Device: {"type":"DEVICE","telemetry":{"forecastFailed":1}}
`
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the second time (-first +second):\n%s", diff)
	}
}

func TestOneMessageAsJSON(t *testing.T) {
	c := test(filepath.Join(chains, "thermostat-alarms"+chainSuffix))
	c.Message, c.JSON, c.Device = `{"temperature":70}`, true, "Boiler"
	out, err := ran(t, c)
	if err != nil {
		t.Fatal(err)
	}
	var report corenode.TryReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	if alarms := report.Stored["Boiler"].Alarms; len(alarms) != 1 || alarms[0].Status != "ACTIVE_UNACK" {
		t.Errorf("alarms %+v", alarms)
	}
	if len(report.Flights) != 2 || report.Flights[1].From != "raised" || report.Flights[1].Type != "ENTITY_CREATED" {
		t.Errorf("flights %+v", report.Flights)
	}
}

func TestAMessageThatFailsIsAnError(t *testing.T) {
	c := test(write(t, "throws"+chainSuffix, chainOf(`{"type":"org.thingsboard.rule.engine.filter.TbJsFilterNode","name":"Throws","configuration":{"jsScript":"return msg.a.b > 1;"}}`, "")))
	c.Message = `{}`
	out, err := ran(t, c)
	if err == nil || !strings.Contains(err.Error(), `node "Throws"`) || !strings.Contains(err.Error(), "TypeError") {
		t.Errorf("error %v; printed\n%s", err, out)
	}
}

func TestWrongFlags(t *testing.T) {
	nested := filepath.Join(chains, "nested"+chainSuffix)
	for _, c := range []struct {
		name   string
		change func(*Test)
		want   string
	}{
		{"no message", func(*Test) {}, "--message"},
		{"metadata that are no texts", func(c *Test) { c.Message, c.Metadata = "{}", `{"a":1}` }, "--metadata"},
		{"an outcome without a relation", func(c *Test) { c.Message, c.Outcome = "{}", []string{"x"} }, "--outcome"},
		{"no time", func(c *Test) { c.Message, c.Now = "{}", "today" }, "--now"},
		{"no such chain", func(c *Test) { c.Message, c.Start = "{}", "Other" }, `start: there is no rule chain "Other"`},
		{"no such generator", func(c *Test) { c.Tick = "Other" }, `tick: there is no generator "Other"`},
		{"a message for a folder", func(c *Test) { c.Path, c.Message = chains, "{}" }, "cases say themselves"},
		{"a folder without cases", func(c *Test) { c.Path = t.TempDir() }, "there is no case"},
	} {
		t.Run(c.name, func(t *testing.T) {
			command := test(nested)
			c.change(command)
			if _, err := ran(t, command); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// chainOf is an exported chain whose first node is the first.
func chainOf(nodes, links string) string {
	return `{"ruleChain":{"name":"Chain"},"metadata":{"firstNodeIndex":0,"nodes":[` + nodes + `],"connections":[` + links + `]}}`
}
