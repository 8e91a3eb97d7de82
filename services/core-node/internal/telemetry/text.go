package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	values "github.com/sluice-iot/sluice/proto/telemetry"
)

// AppendObject appends kvs to dst as one JSON object.
func AppendObject(dst []byte, kvs []values.KeyValue) []byte {
	dst = append(dst, '{')
	for i, kv := range kvs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, kv.Key)
		dst = append(dst, ':')
		dst = AppendValue(dst, kv.Value)
	}
	return append(dst, '}')
}

// AppendValue appends v to dst as JSON.
func AppendValue(dst []byte, v values.Value) []byte {
	switch v.Kind {
	case values.Bool:
		return strconv.AppendBool(dst, v.Bool())
	case values.Long:
		return strconv.AppendInt(dst, v.Long(), 10)
	case values.Double:
		return strconv.AppendFloat(dst, v.Double(), 'g', -1, 64)
	case values.String:
		return appendText(dst, v.Text())
	case values.JSON:
		return append(dst, v.Text()...)
	}
	return append(dst, "null"...)
}

// AppendRecord appends r as {"ts":…,"values":{…}}.
func AppendRecord(dst []byte, r Timed) []byte {
	dst = strconv.AppendInt(append(dst, `{"ts":`...), r.Time, 10)
	dst = AppendObject(append(dst, `,"values":`...), r.Values)
	return append(dst, '}')
}

// AppendTexts appends texts as a JSON array.
func AppendTexts(dst []byte, texts []string) []byte {
	dst = append(dst, '[')
	for i, text := range texts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, text)
	}
	return append(dst, ']')
}

// appendText quotes text; what is not UTF-8 becomes U+FFFD.
func appendText(dst []byte, text string) []byte {
	quoted, _ := jsontext.AppendQuote(dst, text)
	return quoted
}

// ErrNotObject says that a text is not a flat JSON object of values.
var ErrNotObject = errors.New("telemetry: not a JSON object of values")

// ParseObject reads a JSON object of values as device-api §5 types them: numbers without fraction or exponent that fit
// are long, other numbers double, objects and arrays stay compact JSON, and text that reads as a number
// becomes one. null is no value. Errors wrap ErrNotObject.
func ParseObject(text string) ([]values.KeyValue, error) {
	dec := jsontext.NewDecoder(strings.NewReader(text))
	kvs, err := parseMembers(dec)
	if err == nil {
		if _, after := dec.ReadToken(); after != io.EOF {
			err = errors.New("more follows after the object")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotObject, err)
	}
	return kvs, nil
}

func parseMembers(dec *jsontext.Decoder) ([]values.KeyValue, error) {
	open, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	if open.Kind() != '{' {
		return nil, fmt.Errorf("it is a %s", open.Kind())
	}
	var kvs []values.KeyValue
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		value, err := parseValue(dec)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
		kvs = append(kvs, values.KeyValue{Key: key, Value: value})
	}
	_, err = dec.ReadToken()
	return kvs, err
}

func parseValue(dec *jsontext.Decoder) (values.Value, error) {
	switch dec.PeekKind() {
	case '{', '[':
		raw, err := dec.ReadValue()
		if err != nil {
			return values.Value{}, err
		}
		compact := jsontext.Value(bytes.Clone(raw))
		if err := compact.Compact(); err != nil {
			return values.Value{}, err
		}
		return values.OfJSON(string(compact)), nil
	}
	token, err := dec.ReadToken()
	if err != nil {
		return values.Value{}, err
	}
	switch token.Kind() {
	case 't', 'f':
		return values.OfBool(token.Bool()), nil
	case '0':
		return number(token.String()), nil
	case '"':
		text := token.String()
		if looksNumeric(text) {
			return number(text), nil
		}
		return values.OfString(text), nil
	}
	return values.Value{}, errors.New("null is no value")
}

// number reads a JSON number; one too large for a double stays text.
func number(text string) values.Value {
	if !strings.ContainsAny(text, ".eE") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return values.OfLong(n)
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return values.OfString(text)
	}
	return values.OfDouble(f)
}

// looksNumeric reports whether text is a JSON number and nothing else.
func looksNumeric(text string) bool {
	if text == "" || len(text) > 32 {
		return false
	}
	value := jsontext.Value(text)
	return value.Kind() == '0' && value.IsValid() && strings.TrimSpace(text) == text
}
