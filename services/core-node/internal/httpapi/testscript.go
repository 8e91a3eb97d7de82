package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/script"
)

// scriptRoutes are those of rest-api §2.11 about scripts.
func (a *api) scriptRoutes() []route {
	return []route{
		{"POST", "/api/ruleChain/testScript", tenants(), a.testScript},
		{"GET", "/api/ruleChain/tbelEnabled", tenants(), a.tbelEnabled},
	}
}

// testTime is how long a script that is tried out may take, with the way there.
const testTime = 20 * time.Second

func (a *api) tbelEnabled(*http.Request, auth.Principal) (any, error) { return false, nil }

// tried is a script to try out, and what with.
type tried struct {
	Script     string
	ScriptType string
	ArgNames   []string
	Msg        string
	Metadata   map[string]string
	MsgType    string
}

// testScript answers 200 whatever the script does: its errors are part of the answer (rule-engine reference §4.7).
func (a *api) testScript(r *http.Request, p auth.Principal) (any, error) {
	var in tried
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), testTime)
	defer cancel()
	var answer struct {
		Output string `json:"output"`
		Error  string `json:"error"`
	}
	output, err := a.try(ctx, p, r.URL.Query().Get("scriptLang"), in)
	if answer.Output = output; err != nil {
		answer.Output, answer.Error = "", err.Error()
	}
	return answer, nil
}

func (a *api) try(ctx context.Context, p auth.Principal, language string, in tried) (string, error) {
	switch {
	case language == script.TBEL:
		return "", errors.New("scripts in TBEL are not run here; write it in JavaScript")
	case language != "" && language != script.JS:
		return "", fmt.Errorf("scriptLang: %q is neither %s nor %s", language, script.JS, script.TBEL)
	case a.Scripts == nil:
		return "", errors.New("scripts are not run here")
	case !json.Valid([]byte(in.Msg)):
		return "", errors.New("SyntaxError: the message's data is not JSON")
	}
	read := reading(in)
	if read == nil {
		return "", fmt.Errorf("scriptType: %q is unknown", in.ScriptType)
	}
	prepared, err := a.Scripts.Prepare(p.Tenant, in.parameters(), in.Script)
	if err != nil {
		return "", err
	}
	if in.Metadata == nil {
		in.Metadata = map[string]string{}
	}
	metadata, err := json.Marshal(in.Metadata)
	if err != nil {
		return "", err
	}
	result, err := prepared.Call(ctx, []string{in.Msg, string(metadata), in.MsgType})
	if err != nil {
		return "", err
	}
	return read(result)
}

func (in tried) parameters() []string {
	switch {
	case len(in.ArgNames) > 0:
		return in.ArgNames
	case in.ScriptType == "generate":
		return script.GeneratorParameters()
	}
	return script.MessageParameters()
}

// reading is how a result of the type of script is shown; nil for a type there is not.
func reading(in tried) func(result string) (string, error) {
	message := &rule.Message{Type: in.MsgType, Body: rule.TextBody(in.Msg), Metadata: rule.Metadata{}.WithAll(in.Metadata)}
	switch in.ScriptType {
	case "update":
		return func(result string) (string, error) {
			made, err := script.ReadTransform(result, message)
			if err != nil {
				return "", err
			}
			if len(made) == 1 {
				return jsonText(shown(made[0]))
			}
			all := make([]messageBody, len(made))
			for i, m := range made {
				all[i] = shown(m)
			}
			return jsonText(all)
		}
	case "generate":
		return func(result string) (string, error) {
			made, err := script.ReadMessage(result, message)
			if err != nil {
				return "", err
			}
			return jsonText(shown(made))
		}
	case "filter":
		return func(result string) (string, error) {
			yes, err := script.ReadFilter(result)
			return fmt.Sprint(yes), err
		}
	case "switch":
		return func(result string) (string, error) {
			relations, err := script.ReadSwitch(result)
			if relations == nil {
				relations = []rule.Relation{}
			}
			if err != nil {
				return "", err
			}
			return jsonText(relations)
		}
	case "json":
		return func(result string) (string, error) {
			if result == "" {
				return "null", nil
			}
			return result, nil
		}
	case "string":
		return script.ReadText
	}
	return nil
}

// messageBody is a message as a script returns it.
type messageBody struct {
	Msg      json.RawMessage   `json:"msg"`
	Metadata map[string]string `json:"metadata"`
	MsgType  string            `json:"msgType"`
}

func shown(m *rule.Message) messageBody {
	return messageBody{json.RawMessage(m.Body.Text()), m.Metadata.All(), m.Type}
}

func jsonText(v any) (string, error) {
	text, err := verbatim(v)
	if err != nil {
		return "", err
	}
	return string(text[:len(text)-1]), nil // without its line end
}
