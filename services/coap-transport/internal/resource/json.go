package resource

import (
	"bytes"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
)

// appendAttributes appends {"client":{…},"shared":{…}}; a scope without attributes is left out.
func appendAttributes(dst []byte, a transport.Attributes) []byte {
	dst = append(dst, '{')
	dst = appendScope(dst, "client", a.Client)
	if len(a.Client) > 0 && len(a.Shared) > 0 {
		dst = append(dst, ',')
	}
	dst = appendScope(dst, "shared", a.Shared)
	return append(dst, '}')
}

func appendScope(dst []byte, scope string, values []telemetry.KeyValue) []byte {
	if len(values) == 0 {
		return dst
	}
	dst = append(appendText(dst, scope), ':', '{')
	for i, kv := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, kv.Key), ':')
		dst = appendValue(dst, kv.Value)
	}
	return append(dst, '}')
}

func appendValue(dst []byte, v telemetry.Value) []byte {
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
	}
	return append(dst, "null"...)
}

// appendText quotes s. What is not UTF-8 in it is replaced, which is all that can go wrong.
func appendText(dst []byte, s string) []byte {
	quoted, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		quoted, _ = jsontext.AppendQuote(dst, string(bytes.ToValidUTF8([]byte(s), []byte("\uFFFD"))))
	}
	return quoted
}

// appendDouble writes a double the way the reference platform does, so that a device tells it
// from an integer: 42.0, 1.0E10 (device-api §5.5).
func appendDouble(dst []byte, f float64) []byte {
	start := len(dst)
	if size := math.Abs(f); size != 0 && (size < 1e-3 || size >= 1e7) {
		dst = strconv.AppendFloat(dst, f, 'E', -1, 64)
	} else {
		dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	mantissa, exponent, scientific := bytes.Cut(bytes.Clone(dst[start:]), []byte("E"))
	dst = append(dst[:start], mantissa...)
	if !bytes.ContainsRune(mantissa, '.') {
		dst = append(dst, '.', '0')
	}
	if !scientific {
		return dst
	}
	dst = append(dst, 'E')
	n, _ := strconv.Atoi(string(exponent)) // AppendFloat wrote it
	return strconv.AppendInt(dst, int64(n), 10)
}
