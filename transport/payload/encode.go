package payload

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sluice-iot/sluice/proto/telemetry"
)

// AppendValues appends values as a JSON object, {"k":v,…}, the form in which devices are sent
// attributes. Doubles always show that they are: 42.0, 1.0E10.
func AppendValues(dst []byte, values []telemetry.KeyValue) []byte {
	dst = append(dst, '{')
	for i := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, values[i].Key)
		dst = append(dst, ':')
		dst = AppendValue(dst, values[i].Value)
	}
	return append(dst, '}')
}

// AppendAttributes appends the answer to an attribute request:
// {"client":{…},"shared":{…}}, without a scope that has none.
func AppendAttributes(dst []byte, client, shared []telemetry.KeyValue) []byte {
	dst = append(dst, '{')
	if len(client) > 0 {
		dst = AppendValues(append(dst, `"client":`...), client)
	}
	if len(shared) > 0 {
		if len(client) > 0 {
			dst = append(dst, ',')
		}
		dst = AppendValues(append(dst, `"shared":`...), shared)
	}
	return append(dst, '}')
}

// AppendDeleted appends the notice that attributes are gone: {"deleted":["k",…]}.
func AppendDeleted(dst []byte, keys []string) []byte {
	dst = append(dst, `{"deleted":[`...)
	for i, key := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, key)
	}
	return append(dst, "]}"...)
}

// AppendValue appends one value as JSON; no value is null.
func AppendValue(dst []byte, v telemetry.Value) []byte {
	switch v.Kind {
	case telemetry.Bool:
		return strconv.AppendBool(dst, v.Bool())
	case telemetry.Long:
		return strconv.AppendInt(dst, v.Long(), 10)
	case telemetry.Double:
		return appendDouble(dst, v.Double())
	case telemetry.String:
		return appendText(dst, v.Text())
	case telemetry.JSON:
		return append(dst, v.Text()...)
	default:
		return append(dst, "null"...)
	}
}

// Doubles from plainFrom up to plainTo are written without an exponent.
const (
	plainFrom = 1e-3
	plainTo   = 1e7
)

// appendDouble writes the shortest decimal that reads back as f, with at least one digit after the point.
func appendDouble(dst []byte, f float64) []byte {
	size := f
	if size < 0 {
		size = -size
	}
	from := len(dst)
	if size == 0 || size >= plainFrom && size < plainTo {
		dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
		if bytes.IndexByte(dst[from:], '.') < 0 {
			dst = append(dst, ".0"...)
		}
		return dst
	}
	text := strconv.AppendFloat(nil, f, 'E', -1, 64)
	mantissa, exponent, found := bytes.Cut(text, []byte("E"))
	if !found {
		return append(dst, "null"...) // infinite or not a number: JSON has no such thing
	}
	dst = append(dst, mantissa...)
	if bytes.IndexByte(mantissa, '.') < 0 {
		dst = append(dst, ".0"...)
	}
	dst = append(dst, 'E')
	if exponent[0] == '-' {
		dst = append(dst, '-')
	}
	return append(dst, bytes.TrimLeft(exponent[1:], "0")...)
}

// appendText quotes text. What is not UTF-8 in it becomes the replacement character, which is all
// the error would say.
func appendText(dst []byte, text string) []byte {
	dst, _ = jsontext.AppendQuote(dst, text)
	return dst
}
