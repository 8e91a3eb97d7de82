// Package pattern fills texts of configurations with what a message carries: ${key} is the metadata's
// text, $[a.b] the body's value at that path, ${*} all metadata as a JSON object, $[*] the whole body.
//
// What cannot be filled stays as it is. Metadata is put in first, and literally: where it brings a
// $[path] with it, that is filled as well, because existing chains may depend on it.
package pattern

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Pattern is a text that may have placeholders. The zero Pattern is the empty text. Safe for concurrent use.
type Pattern struct {
	text  string
	parts []part // nil when the text has no placeholder of metadata
	body  bool   // the text itself has one of the body
}

// part is a literal, or the text of a placeholder ${key} with its key.
type part struct {
	text string
	key  string
	fill bool
}

// whole is the key, or the path, of everything.
const whole = "*"

// Compile reads text; every text is a pattern.
func Compile(text string) Pattern {
	p := Pattern{text: text, body: strings.Contains(text, "$[")}
	filled := false
	for rest := text; rest != ""; {
		end := strings.IndexByte(rest, '}')
		if end < 0 {
			p.parts = append(p.parts, part{text: rest})
			break
		}
		start := strings.LastIndex(rest[:end], "${")
		if start < 0 {
			p.parts = append(p.parts, part{text: rest[:end+1]})
		} else {
			filled = true
			p.parts = append(p.parts, part{text: rest[:start]}, part{text: rest[start : end+1], key: rest[start+2 : end], fill: true})
		}
		rest = rest[end+1:]
	}
	if !filled {
		p.parts = nil
	}
	return p
}

// CompileAll compiles each of texts.
func CompileAll(texts []string) []Pattern {
	patterns := make([]Pattern, len(texts))
	for i, text := range texts {
		patterns[i] = Compile(text)
	}
	return patterns
}

// Source is the pattern as it was written.
func (p Pattern) Source() string { return p.text }

// Fixed reports whether the pattern is the same for every message.
func (p Pattern) Fixed() bool { return p.parts == nil && !p.body }

// Of fills the pattern with what m carries.
func (p Pattern) Of(m *rule.Message) string {
	text := p.text
	if p.parts != nil {
		text = p.fillMetadata(m)
	}
	if !strings.Contains(text, "$[") {
		return text
	}
	return fillBody(text, m.Body)
}

func (p Pattern) fillMetadata(m *rule.Message) string {
	var out strings.Builder
	for _, part := range p.parts {
		if part.fill {
			if value, ok := m.Metadata.Get(part.key); ok {
				out.WriteString(value)
				continue
			}
			if part.key == whole {
				out.Write(object(m.Metadata.All()))
				continue
			}
		}
		out.WriteString(part.text)
	}
	return out.String()
}

// object is texts as JSON, their names in order.
func object(texts map[string]string) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(texts); err != nil {
		return []byte("{}") // texts always encode
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

func fillBody(text string, body rule.Body) string {
	var out strings.Builder
	values := reader{body: body}
	for {
		start := strings.Index(text, "$[")
		if start < 0 {
			break
		}
		length := strings.IndexByte(text[start:], ']')
		if length < 0 {
			break
		}
		placeholder := text[start : start+length+1]
		out.WriteString(text[:start])
		if value, ok := values.at(placeholder[2:length]); ok {
			out.WriteString(value)
		} else {
			out.WriteString(placeholder)
		}
		text = text[start+length+1:]
	}
	out.WriteString(text)
	return out.String()
}

// reader finds values in a body, which it decodes when first needed.
type reader struct {
	body    rule.Body
	decoded bool
	fields  map[string]json.RawMessage // nil: the body is no object
}

func (r *reader) at(path string) (string, bool) {
	if path == whole {
		var compact bytes.Buffer
		err := json.Compact(&compact, []byte(r.body.Text()))
		return compact.String(), err == nil
	}
	if kvs, typed := r.body.Typed(); typed && !strings.Contains(path, ".") {
		for i := len(kvs) - 1; i >= 0; i-- {
			if kvs[i].Key == path {
				return Text(telemetry.AppendValue(nil, kvs[i].Value))
			}
		}
		return "", false
	}
	if !r.decoded {
		r.decoded, r.fields = true, fields([]byte(r.body.Text()))
	}
	at := r.fields
	keys := strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		at = fields(at[key])
	}
	value, ok := at[keys[len(keys)-1]]
	if !ok {
		return "", false
	}
	return Text(value)
}

// fields is the object in text, nil if it holds none.
func fields(text []byte) map[string]json.RawMessage {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return nil
	}
	return object
}

// Text is the text of a single JSON value: a string without its quotes, anything else as it is written. ok is
// false for objects and arrays.
func Text(value []byte) (text string, ok bool) {
	value = bytes.TrimSpace(value)
	if len(value) == 0 {
		return "", false
	}
	switch value[0] {
	case '{', '[':
		return "", false
	case '"':
		err := json.Unmarshal(value, &text)
		return text, err == nil
	}
	return string(value), true
}
