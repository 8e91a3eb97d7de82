package schema

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-iot/sluice/proto/fault"
)

// AppendMessage appends the message that JSON text of an object stands for. Members the schema does not have are left out; a field of
// text takes any JSON, as text. Errors are of fault.Invalid and name the field.
func (s *Schema) AppendMessage(dst, text []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return dst, fault.Wrap(fault.Invalid, "read the JSON of a message", err)
	}
	return s.root.append(dst, object, 1)
}

func (m *message) append(dst []byte, object map[string]any, depth int) ([]byte, error) {
	if depth > maxDepth {
		return dst, errDeep
	}
	for _, f := range m.fields {
		v, found := object[f.json]
		if !found {
			v = object[f.name]
		}
		if v == nil {
			continue
		}
		var err error
		if dst, err = f.append(dst, v, depth); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// append appends a field with all its values.
func (f *field) append(dst []byte, v any, depth int) (_ []byte, err error) {
	switch {
	case f.isMap:
		object, ok := v.(map[string]any)
		if !ok {
			return dst, f.wrong("an object")
		}
		keys := make([]string, 0, len(object))
		for key := range object {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			if dst, err = f.one(dst, map[string]any{"key": key, "value": object[key]}, depth); err != nil {
				return dst, err
			}
		}
		return dst, nil
	case f.repeated:
		list, ok := v.([]any)
		if !ok {
			return dst, f.wrong("an array")
		}
		for _, element := range list {
			if dst, err = f.one(dst, element, depth); err != nil {
				return dst, err
			}
		}
		return dst, nil
	default:
		return f.one(dst, v, depth)
	}
}

// one appends one value behind its tag. Defaults of fields that do not tell them from unset are written too: they read the same.
func (f *field) one(dst []byte, v any, depth int) ([]byte, error) {
	dst = protowire.AppendTag(dst, f.number, f.kind.wire())
	switch f.kind {
	case kindMessage:
		object, ok := v.(map[string]any)
		if !ok {
			return dst, f.wrong("an object")
		}
		inner, err := f.message.append(nil, object, depth+1)
		return protowire.AppendBytes(dst, inner), err
	case kindString:
		text, ok := v.(string)
		if !ok {
			other, err := json.Marshal(v)
			if err != nil {
				return dst, f.wrong("a text")
			}
			text = string(other)
		}
		return protowire.AppendString(dst, text), nil
	case kindBytes:
		text, _ := v.(string)
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return dst, f.wrong("base64")
		}
		return protowire.AppendBytes(dst, data), nil
	case kindBool:
		if v == "true" || v == "false" { // a map's key
			v = v == "true"
		}
		is, ok := v.(bool)
		if !ok {
			return dst, f.wrong("true or false")
		}
		return protowire.AppendVarint(dst, protowire.EncodeBool(is)), nil
	}
	return f.number64(dst, v)
}

// number64 appends a number, which may be written as text.
func (f *field) number64(dst []byte, v any) ([]byte, error) {
	text := ""
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string:
		if n, found := f.enumValue(v); found {
			return protowire.AppendVarint(dst, uint64(int64(n))), nil
		}
		text = v
	}
	switch f.kind {
	case kindDouble, kindFloat:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return dst, f.wrong("a number")
		}
		if f.kind == kindFloat {
			return protowire.AppendFixed32(dst, math.Float32bits(float32(x))), nil
		}
		return protowire.AppendFixed64(dst, math.Float64bits(x)), nil
	case kindUint64, kindFixed64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return dst, f.wrong("an integer from 0")
		}
		return f.integer(dst, n), nil
	}
	n, err := integral(text)
	small := f.kind != kindInt64 && f.kind != kindSint64 && f.kind != kindSfixed64
	unsigned := f.kind == kindUint32 || f.kind == kindFixed32
	if err != nil || small && !unsigned && n != int64(int32(n)) || unsigned && n != int64(uint32(n)) {
		return dst, f.wrong("an integer that fits")
	}
	if f.kind == kindSint32 || f.kind == kindSint64 {
		return protowire.AppendVarint(dst, protowire.EncodeZigZag(n)), nil
	}
	return f.integer(dst, uint64(n)), nil
}

func (f *field) integer(dst []byte, bits uint64) []byte {
	switch f.kind.wire() {
	case protowire.Fixed32Type:
		return protowire.AppendFixed32(dst, uint32(bits))
	case protowire.Fixed64Type:
		return protowire.AppendFixed64(dst, bits)
	default:
		return protowire.AppendVarint(dst, bits)
	}
}

func (f *field) enumValue(name string) (int32, bool) {
	if f.kind != kindEnum {
		return 0, false
	}
	n, found := f.enum.values[name]
	return n, found
}

// integral reads an integer, which may be written as a decimal number: 5.0, 1e3.
func integral(text string) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || x != math.Trunc(x) || math.Abs(x) > 1<<53 {
		return 0, fmt.Errorf("%q is no integer", text)
	}
	return int64(x), nil
}

func (f *field) wrong(want string) error {
	return fault.New(fault.Invalid, fmt.Sprintf("field %s of the profile's schema takes %s", f.name, want))
}
