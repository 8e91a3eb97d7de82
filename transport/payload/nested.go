package payload

import "github.com/sluice-iot/sluice/proto/telemetry"

// nestedValue reads an object or array as compact JSON text: checked, not taken apart.
func (d *Decoder) nestedValue() (telemetry.Value, error) {
	start := d.pos
	d.loose = false
	kept := len(d.scratch)
	if err := d.skip(); err != nil {
		return telemetry.Value{}, err
	}
	// What checking its strings unescaped is of no use.
	d.scratch = d.scratch[:kept]
	text := d.data[start:d.pos]
	if d.loose {
		d.scratch = appendCompact(d.scratch, text)
		text = d.scratch[kept:]
	}
	return telemetry.OfJSON(alias(text)), nil
}

// skip checks one value and goes past it.
func (d *Decoder) skip() error {
	switch c := d.peek(); c {
	case '{':
		return d.skipObject()
	case '[':
		return d.skipArray()
	case '"':
		_, err := d.text()
		return err
	case 't':
		return d.literal("true")
	case 'f':
		return d.literal("false")
	case 'n':
		return d.literal("null")
	default:
		if c != '-' && !isDigit(c) {
			return d.fail("a value is expected")
		}
		if _, ok := d.numeral(); !ok {
			return d.fail("a number that JSON does not have")
		}
		return nil
	}
}

func (d *Decoder) skipObject() error {
	if err := d.enter(); err != nil {
		return err
	}
	for first := true; ; first = false {
		_, more, err := d.nextKey(first)
		if err != nil || !more {
			return err
		}
		if err := d.skip(); err != nil {
			return err
		}
	}
}

func (d *Decoder) skipArray() error {
	if err := d.enter(); err != nil {
		return err
	}
	if d.peek() == ']' {
		d.leave()
		return nil
	}
	for {
		if err := d.skip(); err != nil {
			return err
		}
		switch d.peek() {
		case ',':
			d.pos++
		case ']':
			d.leave()
			return nil
		default:
			return d.fail("',' or ']' is expected")
		}
	}
}

// appendCompact appends valid JSON without the space between its tokens.
func appendCompact(dst, text []byte) []byte {
	quoted := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quoted && c == '\\':
			dst = append(dst, c)
			i++
			c = text[i]
		case c == '"':
			quoted = !quoted
		case !quoted && c <= ' ':
			continue
		}
		dst = append(dst, c)
	}
	return dst
}
