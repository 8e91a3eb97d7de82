package httpapi

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/telemetry"
	timed "github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Values that people send obey the rules of those devices send (rest-api §2.6, device-api §5),
// with one exception: null is refused here instead of left out.

// parseAttributes reads a flat JSON object.
func parseAttributes(body []byte) ([]telemetry.KeyValue, error) {
	if kind := jsontext.Value(bytes.TrimSpace(body)).Kind(); kind != '{' {
		return nil, fault.New(fault.Invalid, "Attributes must be a JSON object")
	}
	var kvs []telemetry.KeyValue
	err := document(body, func(dec *jsontext.Decoder) error {
		found, err := members(dec)
		if err != nil {
			return err
		}
		kvs, err = values(found)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(kvs) == 0 {
		return nil, fault.New(fault.Invalid, "No attributes data found in request body")
	}
	return kvs, checkKeys(kvs)
}

// parseTelemetry reads an object of values, {"ts":…,"values":{…}}, or an array of either; values
// without a time are those of now (ms).
func parseTelemetry(body []byte, now int64) ([]timed.Timed, error) {
	var records []timed.Timed
	err := document(body, func(dec *jsontext.Decoder) error {
		if dec.PeekKind() != '[' {
			return record(dec, now, &records)
		}
		if _, err := dec.ReadToken(); err != nil {
			return err
		}
		for dec.PeekKind() != ']' {
			if err := record(dec, now, &records); err != nil {
				return err
			}
		}
		_, err := dec.ReadToken()
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, fault.New(fault.Invalid, "No timeseries data found in request body")
	}
	for _, r := range records {
		if err := checkKeys(r.Values); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// document has one JSON text read to its end; the errors are of kind Invalid.
func document(body []byte, read func(*jsontext.Decoder) error) error {
	dec := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true))
	err := read(dec)
	if err == nil {
		if _, more := dec.ReadToken(); more != io.EOF {
			err = errors.New("more follows after the first value")
		}
	}
	var own *fault.Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	return fault.New(fault.Invalid, "Unable to parse payload: Invalid JSON body: "+err.Error())
}

// member is one name of an object with its value, still as text.
type member struct {
	name  string
	value jsontext.Value
}

// members reads an object; of a name given twice the last value counts.
func members(dec *jsontext.Decoder) ([]member, error) {
	if kind := dec.PeekKind(); kind != '{' {
		if kind == 0 {
			_, err := dec.ReadToken()
			return nil, err
		}
		return nil, fault.New(fault.Invalid, "Values must be a JSON object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	var found []member
	index := map[string]int{}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		m := member{name: name.String()}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		m.value = value.Clone()
		if i, ok := index[m.name]; ok {
			found[i] = m
			continue
		}
		index[m.name] = len(found)
		found = append(found, m)
	}
	_, err := dec.ReadToken()
	return found, err
}

// record reads one object of values, with or without a time.
func record(dec *jsontext.Decoder, now int64, records *[]timed.Timed) error {
	found, err := members(dec)
	if err != nil {
		return err
	}
	at := now
	if ts, inner := find(found, "ts"), find(found, "values"); ts != nil && inner != nil {
		if at, err = parseTime(ts); err != nil {
			return err
		}
		if found, err = members(jsontext.NewDecoder(bytes.NewReader(inner), jsontext.AllowDuplicateNames(true))); err != nil {
			return err
		}
	}
	kvs, err := values(found)
	if err != nil {
		return err
	}
	if len(kvs) > 0 {
		*records = append(*records, timed.Timed{Time: at, Values: kvs})
	}
	return nil
}

func find(in []member, name string) jsontext.Value {
	for _, m := range in {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// parseTime reads ms: a whole number, a fraction that is cut off, or a string of digits.
func parseTime(value jsontext.Value) (int64, error) {
	digits := string(value)
	if value.Kind() == '"' {
		unquoted, err := jsontext.AppendUnquote(nil, value)
		if err != nil {
			return 0, err
		}
		digits = string(unquoted)
	}
	if ms, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return ms, nil
	}
	if value.Kind() == '0' {
		if f, err := strconv.ParseFloat(digits, 64); err == nil && math.Abs(f) < math.MaxInt64 {
			return int64(f), nil
		}
	}
	return 0, fault.New(fault.Invalid, "ts: must be a time in milliseconds")
}

func values(found []member) ([]telemetry.KeyValue, error) {
	kvs := make([]telemetry.KeyValue, 0, len(found))
	for _, m := range found {
		v, err := value(m.value)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "Can't parse value of key "+strconv.Quote(m.name)+": "+err.Error(), err)
		}
		if v.Kind == telemetry.None {
			return nil, fault.New(fault.Invalid, "Can't parse value of key "+strconv.Quote(m.name)+": null is no value")
		}
		kvs = append(kvs, telemetry.KeyValue{Key: m.name, Value: v})
	}
	return kvs, nil
}

func value(text jsontext.Value) (telemetry.Value, error) {
	switch text.Kind() {
	case 't', 'f':
		return telemetry.OfBool(text.Kind() == 't'), nil
	case '"':
		unquoted, err := jsontext.AppendUnquote(nil, text)
		if err != nil {
			return telemetry.Value{}, err
		}
		return castText(string(unquoted)), nil
	case '0':
		return castNumber(string(text))
	case '{', '[':
		if err := text.Compact(); err != nil {
			return telemetry.Value{}, err
		}
		return telemetry.OfJSON(string(text)), nil
	}
	return telemetry.Value{}, nil
}

// castText makes text that looks like a number that number: an optional minus, digits, at most
// one point, which is not the last character. What does not fit stays text.
func castText(s string) telemetry.Value {
	digits := strings.TrimPrefix(s, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	switch {
	case digits == "", strings.Trim(whole+fraction, "0123456789") != "", point && fraction == "":
		return telemetry.OfString(s)
	case point:
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return telemetry.OfDouble(f)
		}
	default:
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return telemetry.OfLong(n)
		}
	}
	return telemetry.OfString(s)
}

// maxNumeral is how long a number may be written: unfolding its exponent takes time and memory.
const maxNumeral = 1000

// castNumber takes a JSON number: with a point and no exponent a double, whole a long, or text when a long cannot hold it.
func castNumber(s string) (telemetry.Value, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || len(s) > maxNumeral {
		return telemetry.Value{}, fault.New(fault.Invalid, "a number is too large")
	}
	if !strings.ContainsAny(s, "eE") {
		if strings.Contains(s, ".") {
			return telemetry.OfDouble(f), nil
		}
		return whole(s), nil
	}
	if f != math.Trunc(f) || f == 0 && strings.Trim(mantissa(s), "-0.") != "" {
		return telemetry.OfDouble(f), nil
	}
	// A finite float this far has an exponent of a few hundred at most, so the digits are few.
	exact, ok := new(big.Rat).SetString(s)
	if f == 0 {
		exact, ok = new(big.Rat), true
	}
	if !ok || !exact.IsInt() {
		return telemetry.OfDouble(f), nil
	}
	return whole(exact.Num().String()), nil
}

func mantissa(s string) string { return s[:strings.IndexAny(s, "eE")] }

// whole reads digits; those that no long can hold stay text.
func whole(digits string) telemetry.Value {
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return telemetry.OfLong(n)
	}
	return telemetry.OfString(digits)
}
