// Package script runs the scripts of rule nodes: it picks the one of the configured language, hands it a message
// as the three texts scripts are called with, and reads what it returned (rule-engine reference §4.1, §4.2).
package script

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// Languages of scripts.
const (
	JS   = "JS"
	TBEL = "TBEL"
)

// Source is the script of a configuration, in each of the languages; Language says which counts, "" is JS. It is read from
// the fields most nodes have.
type Source struct {
	Language string `json:"scriptLang"`
	JS       string `json:"jsScript"`
	TBEL     string `json:"tbelScript"`
}

// Fields names the fields a Source was read from, for errors.
type Fields struct{ JS, TBEL string }

// StandardFields are those most nodes have.
func StandardFields() Fields { return Fields{"jsScript", "tbelScript"} }

// MessageParameters are the parameters of scripts that handle a message.
func MessageParameters() []string { return []string{"msg", "metadata", "msgType"} }

// GeneratorParameters are those of scripts that make one after another.
func GeneratorParameters() []string { return []string{"prevMsg", "prevMetadata", "prevMsgType"} }

// Pick returns the script that counts and the name of its field. An error names the field that is wrong.
func (s Source) Pick(f Fields) (body, field string, err error) {
	switch s.Language {
	case "", JS:
		body, field = s.JS, f.JS
	case TBEL:
		body, field = s.TBEL, f.TBEL
	default:
		return "", "", fmt.Errorf("scriptLang: %q is neither %s nor %s", s.Language, JS, TBEL)
	}
	if strings.TrimSpace(body) == "" {
		return "", "", fmt.Errorf("%s: a script is needed", field)
	}
	return body, field, nil
}

// Prepare makes a Function of the script that counts. A script in TBEL, or one that does not compile, is
// rule.ErrNotStartable; other errors name the field that is wrong.
func (s Source) Prepare(services rule.Services, f Fields, parameters []string) (*Function, error) {
	body, field, err := s.Pick(f)
	if err != nil {
		return nil, err
	}
	if s.Language == TBEL {
		return nil, fmt.Errorf("%s: %w: scripts in TBEL are not run here; write it in JavaScript and set scriptLang to JS",
			field, rule.ErrNotStartable)
	}
	if services.Scripts == nil {
		return nil, fmt.Errorf("%s: %w: scripts are not run here", field, rule.ErrNotStartable)
	}
	prepared, err := services.Scripts.Prepare(services.Tenant, parameters, body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", field, rule.ErrNotStartable, err)
	}
	return &Function{prepared}, nil
}

// Function is a script ready to be called. Every method calls it once; errors are the script's, those of a result of the
// wrong type, or the platform's (rule.PlatformFault). Safe for concurrent use.
type Function struct{ script rule.Script }

// errBody is what a script that gets text for JSON would throw; it is known without asking.
var errBody = errors.New("SyntaxError: the message's data is not JSON")

// Call gives m to the script and returns its result as JSON text, "" for none.
func (f *Function) Call(ctx context.Context, m *rule.Message) (string, error) {
	data := m.Body.Text()
	if _, typed := m.Body.Typed(); !typed && !json.Valid([]byte(data)) {
		return "", errBody
	}
	return f.CallTexts(ctx, data, m.Metadata.All(), m.Type)
}

// CallTexts is Call for a message that is none yet.
func (f *Function) CallTexts(ctx context.Context, data string, metadata map[string]string, messageType string) (string, error) {
	return f.script.Call(ctx, []string{data, metadataText(metadata), messageType})
}

// metadataText is metadata as a JSON object of strings, their names in order.
func metadataText(metadata map[string]string) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(metadata); err != nil || metadata == nil {
		return "{}" // texts always encode
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// Filter calls a script that says yes or no.
func (f *Function) Filter(ctx context.Context, m *rule.Message) (bool, error) {
	result, err := f.Call(ctx, m)
	if err != nil {
		return false, err
	}
	return ReadFilter(result)
}

// Switch calls a script that names relations.
func (f *Function) Switch(ctx context.Context, m *rule.Message) ([]rule.Relation, error) {
	result, err := f.Call(ctx, m)
	if err != nil {
		return nil, err
	}
	return ReadSwitch(result)
}

// Transform calls a script that makes one or several messages of m.
func (f *Function) Transform(ctx context.Context, m *rule.Message) ([]*rule.Message, error) {
	result, err := f.Call(ctx, m)
	if err != nil {
		return nil, err
	}
	return ReadTransform(result, m)
}

// Text calls a script that makes a text.
func (f *Function) Text(ctx context.Context, m *rule.Message) (string, error) {
	result, err := f.Call(ctx, m)
	if err != nil {
		return "", err
	}
	return ReadText(result)
}

// JSON calls a script that makes any JSON; ok is false when it returned nothing.
func (f *Function) JSON(ctx context.Context, m *rule.Message) (text string, ok bool, err error) {
	result, err := f.Call(ctx, m)
	return result, result != "" && err == nil, err
}
