package payload

import (
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// text reads a string. The result points into the payload, or into d.scratch when there was an escape.
func (d *Decoder) text() (string, error) {
	start := d.pos + 1
	var seen byte
	for i := start; i < len(d.data); i++ {
		c := d.data[i]
		if c == '"' {
			return d.closed(d.data[start:i], seen, i)
		}
		if c == '\\' {
			return d.escaped(start, i)
		}
		if c < ' ' {
			d.pos = i
			return "", d.fail("a control character in text must be escaped")
		}
		seen |= c
	}
	d.pos = len(d.data)
	return "", d.fail("text without its closing quote")
}

// closed ends a string at the quote in place quote; seen is all of its bytes or-ed together.
func (d *Decoder) closed(text []byte, seen byte, quote int) (string, error) {
	if seen >= utf8.RuneSelf && !utf8.Valid(text) {
		return "", d.fail("text is not UTF-8")
	}
	d.pos = quote + 1
	return alias(text), nil
}

// escaped reads a string whose first escape is in place i.
func (d *Decoder) escaped(start, i int) (string, error) {
	from := len(d.scratch)
	d.scratch = append(d.scratch, d.data[start:i]...)
	var seen byte = utf8.RuneSelf
	for i < len(d.data) {
		c := d.data[i]
		switch {
		case c == '"':
			return d.closed(d.scratch[from:], seen, i)
		case c < ' ':
			d.pos = i
			return "", d.fail("a control character in text must be escaped")
		case c != '\\':
			d.scratch = append(d.scratch, c)
			i++
		default:
			n := d.escape(d.data[i:])
			if n == 0 {
				d.pos = i
				return "", d.fail("an escape that JSON does not have")
			}
			i += n
		}
	}
	d.pos = len(d.data)
	return "", d.fail("text without its closing quote")
}

// escape appends what the escape at the head of b stands for and returns its length, 0 when it is none.
func (d *Decoder) escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	c := b[1]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return d.unicodeEscape(b)
	default:
		return 0
	}
	d.scratch = append(d.scratch, c)
	return 2
}

// unicodeEscape takes \uXXXX, or two of them that are a surrogate pair. Half a pair is no character.
func (d *Decoder) unicodeEscape(b []byte) int {
	r, ok := hex4(b)
	if !ok {
		return 0
	}
	n := 6
	if utf16.IsSurrogate(r) {
		low, ok := hex4(b[6:])
		if !ok {
			return 0
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return 0
		}
		n = 12
	}
	d.scratch = utf8.AppendRune(d.scratch, r)
	return n
}

// hex4 reads \uXXXX at the head of b.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// alias returns b as a string without copying. See Decoder.Telemetry for how long it is valid.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
