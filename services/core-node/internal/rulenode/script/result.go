package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
)

// wrongType is the error for a result of a type its use does not take.
func wrongType(result string) error { return errors.New("Wrong result type: " + typeOf(result)) }

// typeOf names the type of a JSON text as existing error texts do.
func typeOf(result string) string {
	trimmed := strings.TrimLeft(result, " \t\r\n")
	if trimmed == "" {
		return "UNDEFINED"
	}
	switch trimmed[0] {
	case '{':
		return "OBJECT"
	case '[':
		return "ARRAY"
	case '"':
		return "STRING"
	case 't', 'f':
		return "BOOLEAN"
	case 'n':
		return "NULL"
	}
	return "NUMBER"
}

// read decodes a result of the type wanted.
func read(result, want string, into any) error {
	if typeOf(result) != want {
		return wrongType(result)
	}
	if err := json.Unmarshal([]byte(result), into); err != nil {
		return fmt.Errorf("read the script's result: %w", err)
	}
	return nil
}

// ReadFilter reads the result of a script that says yes or no.
func ReadFilter(result string) (yes bool, err error) {
	return yes, read(result, "BOOLEAN", &yes)
}

// ReadText reads the result of a script that makes a text.
func ReadText(result string) (text string, err error) {
	return text, read(result, "STRING", &text)
}

// ReadSwitch reads the result of a script that names relations: a string, or an array of strings. Names that
// differ by case alone are one relation, which counts once.
func ReadSwitch(result string) ([]rule.Relation, error) {
	if typeOf(result) == "STRING" {
		one, err := ReadText(result)
		return []rule.Relation{rule.Relation(one)}, err
	}
	var several []json.RawMessage
	if err := read(result, "ARRAY", &several); err != nil {
		return nil, err
	}
	var relations []rule.Relation
	seen := map[string]bool{}
	for _, element := range several {
		name, err := ReadText(string(element))
		if err != nil {
			return nil, err
		}
		if folded := strings.ToLower(name); !seen[folded] {
			seen[folded] = true
			relations = append(relations, rule.Relation(name))
		}
	}
	return relations, nil
}

// ReadTransform reads the result of a script that makes messages of m: an object, or an array, of which an element that is
// no object is m as it was. m stays unchanged.
func ReadTransform(result string, m *rule.Message) ([]*rule.Message, error) {
	if typeOf(result) != "ARRAY" {
		one, err := ReadMessage(result, m)
		if err != nil {
			return nil, err
		}
		return []*rule.Message{one}, nil
	}
	var several []json.RawMessage
	if err := read(result, "ARRAY", &several); err != nil {
		return nil, err
	}
	if len(several) == 0 {
		return nil, errors.New("the list of messages is empty")
	}
	messages := make([]*rule.Message, len(several))
	for i, element := range several {
		if typeOf(string(element)) != "OBJECT" {
			unchanged := *m
			messages[i] = &unchanged
			continue
		}
		var err error
		if messages[i], err = ReadMessage(string(element), m); err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
	}
	return messages, nil
}

// ReadMessage reads a result that is an object {msg, metadata, msgType}, each optional, into a copy of m.
func ReadMessage(result string, m *rule.Message) (*rule.Message, error) {
	var fields map[string]json.RawMessage // by their exact names, unlike a struct's
	if err := read(result, "OBJECT", &fields); err != nil {
		return nil, err
	}
	changed := *m
	if data, ok := fields["msg"]; ok {
		changed.Body = rule.TextBody(string(data))
	}
	if metadata, ok := fields["metadata"]; ok && typeOf(string(metadata)) != "NULL" {
		texts, err := readMetadata(string(metadata))
		if err != nil {
			return nil, err
		}
		changed.Metadata = rule.Metadata{}.WithAll(texts)
	}
	// A type of null is the text "null", as it always was; an object or array is none.
	if text, ok := pattern.Text(fields["msgType"]); ok && text != "" {
		changed.Type = text
	}
	return &changed, nil
}

// readMetadata reads an object of single values as texts; those of null are left out.
func readMetadata(text string) (map[string]string, error) {
	var fields map[string]json.RawMessage
	if err := read(text, "OBJECT", &fields); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	texts := make(map[string]string, len(fields))
	for key, value := range fields {
		if typeOf(string(value)) == "NULL" {
			continue
		}
		single, ok := pattern.Text(value)
		if !ok {
			return nil, fmt.Errorf("metadata.%s: %w", key, wrongType(string(value)))
		}
		texts[key] = single
	}
	return texts, nil
}
