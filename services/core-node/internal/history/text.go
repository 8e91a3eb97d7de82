package history

import (
	"bytes"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sluice-iot/sluice/proto/telemetry"
)

// Text returns v as clients see it when they did not ask for strict types: every value is
// text. Doubles always show a point: 42.0; 1.0E7 from 10^7 on and 1.0E-4 below 10^-3.
func Text(v telemetry.Value) string {
	switch v.Kind {
	case telemetry.String, telemetry.JSON:
		return v.Text()
	case telemetry.None:
		return ""
	}
	return string(appendPlain(nil, v))
}

// AppendText appends Text(v) as a JSON string; no value is null.
func AppendText(dst []byte, v telemetry.Value) []byte {
	switch v.Kind {
	case telemetry.None:
		return append(dst, "null"...)
	case telemetry.String, telemetry.JSON:
		return AppendString(dst, v.Text())
	}
	dst = append(dst, '"')
	dst = appendPlain(dst, v)
	return append(dst, '"')
}

// AppendStrict appends v as JSON of its own type; no value is null.
func AppendStrict(dst []byte, v telemetry.Value) []byte {
	switch v.Kind {
	case telemetry.None:
		return append(dst, "null"...)
	case telemetry.String:
		return AppendString(dst, v.Text())
	}
	return appendPlain(dst, v)
}

// AppendString appends s as a JSON string; invalid UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	// The error only says that s held invalid UTF-8, which is replaced all the same.
	out, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		out, _ = jsontext.AppendQuote(dst, bytes.ToValidUTF8([]byte(s), []byte("\uFFFD")))
	}
	return out
}

func appendPlain(dst []byte, v telemetry.Value) []byte {
	switch v.Kind {
	case telemetry.Bool:
		return strconv.AppendBool(dst, v.Bool())
	case telemetry.Long:
		return strconv.AppendInt(dst, v.Long(), 10)
	case telemetry.Double:
		return appendDouble(dst, v.Double())
	}
	return append(dst, v.Text()...)
}

// appendDouble writes the shortest digits that read back as f, as Java's Double.toString lays them out.
func appendDouble(dst []byte, f float64) []byte {
	size := math.Abs(f)
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		// Neither can be stored; JSON has no word for them.
		return append(dst, "null"...)
	case size == 0 || size >= 1e-3 && size < 1e7:
		return withPoint(strconv.AppendFloat(dst, f, 'f', -1, 64), len(dst))
	}
	var digits [32]byte
	text := strconv.AppendFloat(digits[:0], f, 'e', -1, 64)
	mantissa, exponent, _ := bytes.Cut(text, []byte{'e'})
	dst = withPoint(append(dst, mantissa...), len(dst))
	dst = append(dst, 'E')
	if exponent[0] == '-' {
		dst = append(dst, '-')
	}
	return append(dst, bytes.TrimLeft(exponent[1:], "0")...)
}

// withPoint adds ".0" to the number that starts at from when it shows no point.
func withPoint(dst []byte, from int) []byte {
	if bytes.IndexByte(dst[from:], '.') < 0 {
		dst = append(dst, ".0"...)
	}
	return dst
}
