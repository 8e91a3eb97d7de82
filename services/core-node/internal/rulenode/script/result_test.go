package script_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/script"
)

// TestResultsOfEveryType is the table of rule-engine reference §4.2: what each use makes of each type of result.
func TestResultsOfEveryType(t *testing.T) {
	const wrong = "Wrong result type: "
	for _, c := range []struct{ result, filter, choice, transform, text string }{
		{`true`, "true", wrong + "BOOLEAN", wrong + "BOOLEAN", wrong + "BOOLEAN"},
		{`"a"`, wrong + "STRING", "[a]", wrong + "STRING", "a"},
		{`null`, wrong + "NULL", wrong + "NULL", wrong + "NULL", wrong + "NULL"},
		{``, wrong + "UNDEFINED", wrong + "UNDEFINED", wrong + "UNDEFINED", wrong + "UNDEFINED"},
		{`5`, wrong + "NUMBER", wrong + "NUMBER", wrong + "NUMBER", wrong + "NUMBER"},
		{`-0.5`, wrong + "NUMBER", wrong + "NUMBER", wrong + "NUMBER", wrong + "NUMBER"},
		{`[]`, wrong + "ARRAY", "[]", "the list of messages is empty", wrong + "ARRAY"},
		{`["a",1]`, wrong + "ARRAY", wrong + "NUMBER", "[was was]", wrong + "ARRAY"},
		{`["a","b","a"]`, wrong + "ARRAY", "[a b]", "[was was was]", wrong + "ARRAY"},
		{`{"msg":1}`, wrong + "OBJECT", wrong + "OBJECT", "[1]", wrong + "OBJECT"},
		{`{}`, wrong + "OBJECT", wrong + "OBJECT", "[was]", wrong + "OBJECT"},
		{`[{"msg":1},{"msg":2},null]`, wrong + "ARRAY", wrong + "OBJECT", "[1 2 was]", wrong + "ARRAY"},
	} {
		t.Run(c.result, func(t *testing.T) {
			yes, err := script.ReadFilter(c.result)
			check(t, "filter", yes, err, c.filter)
			relations, err := script.ReadSwitch(c.result)
			check(t, "switch", relations, err, c.choice)
			text, err := script.ReadText(c.result)
			check(t, "text", text, err, c.text)
			var bodies []string
			messages, err := script.ReadTransform(c.result, &rule.Message{Body: rule.TextBody("was")})
			if err == nil {
				for _, m := range messages {
					bodies = append(bodies, m.Body.Text())
				}
			}
			check(t, "transform", bodies, err, c.transform)
		})
	}
}

func check(t *testing.T, use string, got any, err error, want string) {
	t.Helper()
	said := fmt.Sprint(got)
	if err != nil {
		said = err.Error()
	}
	if said != want {
		t.Errorf("as a %s it is %q, want %q", use, said, want)
	}
}

func TestResultsThatAreMessages(t *testing.T) {
	b := rulenodetest.New(t)
	in := b.Message("TYPE", `{"was":1}`, map[string]string{"k": "v"})
	same := map[string]string{"k": "v"}
	for _, c := range []struct {
		name, result     string
		kind, data, fail string
		metadata         map[string]string
	}{
		{"B7 metadata and type are kept", `{"msg":{"a":1}}`, "TYPE", `{"a":1}`, "", same},
		{"B8 metadata become texts", `{"metadata":{"n":5,"b":true,"f":1.50,"s":"x","gone":null}}`, "TYPE", `{"was":1}`, "", map[string]string{"n": "5", "b": "true", "f": "1.50", "s": "x"}},
		{"B9 metadata hold no objects", `{"metadata":{"o":{}}}`, "", "", "metadata.o: Wrong result type: OBJECT", nil},
		{"B9 nor arrays", `{"metadata":{"l":[1]}}`, "", "", "metadata.l: Wrong result type: ARRAY", nil},
		{"B10 an empty type", `{"msgType":""}`, "TYPE", `{"was":1}`, "", same},
		{"B10 a type of null", `{"msgType":null}`, "null", `{"was":1}`, "", same},
		{"B10 a message of null", `{"msg":null}`, "TYPE", `null`, "", same},
		{"B13 a message of a number", `{"msg":2}`, "TYPE", `2`, "", same},
		{"B27 texts beyond ASCII", `{"msg":"\ud83d\ude00😀` + "\u2028" + `\udead"}`, "TYPE", `"\ud83d\ude00😀` + "\u2028" + `\udead"`, "", same},
		{"B28 numbers as they are written", `{"msg":9007199254740992}`, "TYPE", `9007199254740992`, "", same},
		{"metadata of null", `{"metadata":null}`, "TYPE", `{"was":1}`, "", same},
		{"no metadata left", `{"metadata":{}}`, "TYPE", `{"was":1}`, "", map[string]string{}},
		{"metadata of text", `{"metadata":"x"}`, "", "", "metadata: Wrong result type: STRING", nil},
		{"a type of a number", `{"msgType":5}`, "5", `{"was":1}`, "", same},
		{"a type of an object", `{"msgType":{}}`, "TYPE", `{"was":1}`, "", same},
		{"a string of a message", `{"msg":"x"}`, "TYPE", `"x"`, "", same},
		{"unknown names", `{"MSG":1,"Metadata":{},"id":"x"}`, "TYPE", `{"was":1}`, "", same},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := script.ReadMessage(c.result, in)
			if c.fail != "" {
				if err == nil || err.Error() != c.fail {
					t.Fatalf("%v, want %s", err, c.fail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != c.kind || m.Body.Text() != c.data {
				t.Errorf("it is %s %s, want %s %s", m.Type, m.Body.Text(), c.kind, c.data)
			}
			if diff := cmp.Diff(c.metadata, m.Metadata.All()); diff != "" {
				t.Error(diff)
			}
			if m.ID != in.ID || m.Originator != in.Originator || m.Time != in.Time {
				t.Errorf("it is another message: %+v", m)
			}
		})
	}
}

func TestResultsThatAreNoJSONAreRefused(t *testing.T) {
	for _, result := range []string{`{`, `[`, `"`, `tru`, `["a]`, `{"metadata":{]}`} {
		m := &rule.Message{}
		_, filter := script.ReadFilter(result)
		_, choice := script.ReadSwitch(result)
		_, transform := script.ReadTransform(result, m)
		_, text := script.ReadText(result)
		for _, err := range []error{filter, choice, transform, text} {
			if err == nil {
				t.Errorf("%s is taken", result)
			}
		}
	}
}

func FuzzReadTransform(f *testing.F) {
	for _, seed := range []string{`{"msg":1,"metadata":{"a":1},"msgType":"T"}`, `[{},1]`, `null`, ``, `{"metadata":{"a":[]}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, result string) {
		in := &rule.Message{Type: "T", Body: rule.TextBody(`{}`)}
		messages, err := script.ReadTransform(result, in)
		if (err == nil) == (len(messages) == 0) {
			t.Errorf("%q: %d messages, %v", result, len(messages), err)
		}
		for _, m := range messages {
			if m.Type == "" || !json.Valid([]byte(m.Body.Text())) {
				t.Errorf("%q: type %q, body %q", result, m.Type, m.Body.Text())
			}
		}
	})
}
