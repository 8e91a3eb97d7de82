package payload

import (
	"fmt"
	"math"
	"strconv"

	"github.com/sluice-iot/sluice/proto/telemetry"
)

// value reads any JSON value; null is the Value of Kind None.
func (d *Decoder) value() (telemetry.Value, error) {
	switch c := d.peek(); c {
	case '"':
		return d.textValue()
	case '{', '[':
		return d.nestedValue()
	case 't':
		return telemetry.OfBool(true), d.literal("true")
	case 'f':
		return telemetry.OfBool(false), d.literal("false")
	case 'n':
		return telemetry.Value{}, d.literal("null")
	default:
		if c == '-' || isDigit(c) {
			return d.number()
		}
		return telemetry.Value{}, d.fail("a value is expected")
	}
}

func (d *Decoder) literal(word string) error {
	if len(d.data)-d.pos < len(word) || string(d.data[d.pos:d.pos+len(word)]) != word {
		return d.fail("a value is expected")
	}
	d.pos += len(word)
	return nil
}

func (d *Decoder) textValue() (telemetry.Value, error) {
	start := d.pos
	text, err := d.text()
	if err != nil {
		return telemetry.Value{}, err
	}
	if d.options.MaxText > 0 && len(text) > d.options.MaxText {
		d.pos = start
		return telemetry.Value{}, d.fail(fmt.Sprintf("text longer than %d bytes", d.options.MaxText))
	}
	if d.options.KeepNumericStrings {
		return telemetry.OfString(text), nil
	}
	return cast(text), nil
}

// cast makes text that looks like a number that number: an optional minus, digits, at most one
// point that is not the last character. What does not fit stays text.
func cast(text string) telemetry.Value {
	point, digits := false, false
	for i := range len(text) {
		switch c := text[i]; {
		case isDigit(c):
			digits = true
		case c == '.' && !point && i+1 < len(text):
			point = true
		case c == '-' && i == 0:
		default:
			return telemetry.OfString(text)
		}
	}
	if !digits {
		return telemetry.OfString(text)
	}
	if !point {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return telemetry.OfLong(n)
		}
		return telemetry.OfString(text)
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return telemetry.OfDouble(f)
	}
	return telemetry.OfString(text)
}

// numeral is a number's text and its parts.
type numeral struct {
	text     string
	negative bool
	whole    string // digits before the point
	fraction string // digits after it
	exponent string // signed, without the e; empty when there is none
}

// number reads a number (RFC 8259 §6).
func (d *Decoder) number() (telemetry.Value, error) {
	start := d.pos
	n, ok := d.numeral()
	if !ok {
		return telemetry.Value{}, d.fail("a number that JSON does not have")
	}
	var v telemetry.Value
	switch {
	case n.exponent != "":
		v, ok = d.exponential(n)
	case n.fraction != "":
		v, ok = decimal(n.text)
	default:
		v, ok = d.integer(n.text)
	}
	if !ok {
		d.pos = start
		return telemetry.Value{}, d.fail("a number that is too large")
	}
	return v, nil
}

// numeral cuts a number off the payload.
func (d *Decoder) numeral() (n numeral, ok bool) {
	start := d.pos
	if d.data[d.pos] == '-' {
		n.negative = true
		d.pos++
	}
	if n.whole = d.digits(); n.whole == "" || len(n.whole) > 1 && n.whole[0] == '0' {
		return n, false
	}
	if d.at('.') {
		d.pos++
		if n.fraction = d.digits(); n.fraction == "" {
			return n, false
		}
	}
	if d.at('e') || d.at('E') {
		d.pos++
		from := d.pos
		if d.at('-') || d.at('+') {
			d.pos++
		}
		if d.digits() == "" {
			return n, false
		}
		n.exponent = alias(d.data[from:d.pos])
	}
	n.text = alias(d.data[start:d.pos])
	return n, true
}

func (d *Decoder) at(c byte) bool { return d.pos < len(d.data) && d.data[d.pos] == c }

func (d *Decoder) digits() string {
	start := d.pos
	for d.pos < len(d.data) && isDigit(d.data[d.pos]) {
		d.pos++
	}
	return alias(d.data[start:d.pos])
}

// integer takes digits with an optional minus.
func (d *Decoder) integer(text string) (telemetry.Value, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil {
		return telemetry.OfLong(n), true
	}
	return telemetry.OfString(text), !d.options.KeepNumericStrings
}

func decimal(text string) (telemetry.Value, bool) {
	f, err := strconv.ParseFloat(text, 64)
	return telemetry.OfDouble(f), err == nil
}

// exponential takes a number with an exponent. Beyond the range of a double there is no
// telling how many digits it would unfold to, so it is refused.
func (d *Decoder) exponential(n numeral) (telemetry.Value, bool) {
	f, err := strconv.ParseFloat(n.text, 64)
	if err != nil {
		return telemetry.Value{}, false
	}
	digits, zeros, integral := n.unfold()
	if !integral {
		return telemetry.OfDouble(f), true
	}
	if digits == 0 {
		return telemetry.OfLong(0), true
	}
	return d.integer(d.unfolded(n, digits, zeros))
}

// unfold says how an exponential number is written without one: its first digits (of whole and
// fraction together) followed by zeros. Not integral means that digits would follow the point.
func (n numeral) unfold() (digits, zeros int, integral bool) {
	last := len(n.whole) + len(n.fraction)
	for last > 0 && n.digit(last-1) == '0' {
		last--
	}
	if last == 0 {
		return 0, 0, true
	}
	zeros = len(n.whole) + n.scale() - last
	return last, zeros, zeros >= 0
}

func (n numeral) digit(i int) byte {
	if i < len(n.whole) {
		return n.whole[i]
	}
	return n.fraction[i-len(n.whole)]
}

// farAway is beyond any exponent that matters: more than any payload has digits.
const farAway = 1 << 40

// scale is the exponent, held within ±farAway.
func (n numeral) scale() int {
	e, err := strconv.ParseInt(n.exponent, 10, 64)
	if err != nil && n.exponent[0] == '-' {
		return -farAway
	}
	return int(max(-farAway, min(farAway, e)))
}

func (d *Decoder) unfolded(n numeral, digits, zeros int) string {
	from := len(d.scratch)
	if n.negative {
		d.scratch = append(d.scratch, '-')
	}
	leading := true
	for i := range digits {
		c := n.digit(i)
		if leading = leading && c == '0'; !leading {
			d.scratch = append(d.scratch, c)
		}
	}
	for range zeros {
		d.scratch = append(d.scratch, '0')
	}
	return alias(d.scratch[from:])
}

// time reads the value of "ts": milliseconds, a number (a fraction is cut off) or a string of an integer.
func (d *Decoder) time() (int64, error) {
	start := d.pos
	if d.at('"') {
		text, err := d.text()
		if err != nil {
			return 0, err
		}
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
			return ms, nil
		}
		return 0, d.badTime(start)
	}
	v, err := d.value()
	if err != nil {
		return 0, err
	}
	switch v.Kind {
	case telemetry.Long:
		return v.Long(), nil
	case telemetry.Double:
		if f := math.Trunc(v.Double()); f >= math.MinInt64 && f < math.MaxInt64 {
			return int64(f), nil
		}
	}
	return 0, d.badTime(start)
}

func (d *Decoder) badTime(at int) error {
	d.pos = at
	return d.fail(`"ts" must be a time in milliseconds`)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
