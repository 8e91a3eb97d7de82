package engine

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dop251/goja"
)

// reader makes values of JSON as JSON.parse does: the engine's own loses lone surrogates, refuses 1e400, and costs several times as much.
type reader struct {
	r    *goja.Runtime
	text string
	at   int
}

// maxDepth bounds nesting: arguments are at most twice as long.
const maxDepth = 50_000

// syntaxError is why a text is no JSON, worded as JSON.parse words it.
type syntaxError string

func (e syntaxError) Error() string { return "SyntaxError: " + string(e) }

// parseJSON returns the value of a JSON text.
func parseJSON(r *goja.Runtime, text string) (goja.Value, error) {
	p := reader{r: r, text: text}
	value, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.at < len(text) {
		return nil, p.unexpected()
	}
	return value, nil
}

func (p *reader) unexpected() error {
	if p.at >= len(p.text) {
		return syntaxError("Unexpected end of JSON input")
	}
	found, _ := utf8.DecodeRuneInString(p.text[p.at:])
	return syntaxError(fmt.Sprintf("Unexpected token %c in JSON at position %d", found, p.at))
}

func (p *reader) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// next returns the next byte behind white space; 0 at the end.
func (p *reader) next() byte {
	if p.space(); p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

func (p *reader) value(depth int) (goja.Value, error) {
	if depth > maxDepth {
		return nil, syntaxError("JSON nested too deep")
	}
	switch c := p.next(); {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		return p.string()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	case c == 't':
		return p.word("true", true)
	case c == 'f':
		return p.word("false", false)
	case c == 'n':
		if _, err := p.word("null", nil); err != nil {
			return nil, err
		}
		return goja.Null(), nil
	}
	return nil, p.unexpected()
}

func (p *reader) word(word string, value any) (goja.Value, error) {
	for i := range len(word) {
		if p.at >= len(p.text) || p.text[p.at] != word[i] {
			return nil, p.unexpected()
		}
		p.at++
	}
	return p.r.ToValue(value), nil
}

func (p *reader) object(depth int) (goja.Value, error) {
	object := p.r.NewObject()
	p.at++
	if p.next() == '}' {
		p.at++
		return object, nil
	}
	for {
		if p.next() != '"' {
			return nil, p.unexpected()
		}
		key, err := p.string()
		if err != nil {
			return nil, err
		}
		if p.next() != ':' {
			return nil, p.unexpected()
		}
		p.at++
		value, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		name := key.String()
		if name == "__proto__" { // a key like any other, and not the prototype
			err = object.DefineDataProperty(name, value, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE)
		} else {
			err = object.Set(name, value)
		}
		if err != nil {
			return nil, err
		}
		switch p.next() {
		case ',':
			p.at++
		case '}':
			p.at++
			return object, nil
		default:
			return nil, p.unexpected()
		}
	}
}

func (p *reader) array(depth int) (goja.Value, error) {
	var items []any
	p.at++
	if p.next() == ']' {
		p.at++
		return p.r.NewArray(), nil
	}
	for {
		value, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, value)
		switch p.next() {
		case ',':
			p.at++
		case ']':
			p.at++
			return p.r.NewArray(items...), nil
		default:
			return nil, p.unexpected()
		}
	}
}

func (p *reader) number() (goja.Value, error) {
	from := p.at
	if p.text[p.at] == '-' {
		p.at++
	}
	whole := p.digits()
	if whole == 0 || whole > 1 && p.text[p.at-whole] == '0' {
		if whole > 1 {
			p.at -= whole - 1
		}
		return nil, p.unexpected()
	}
	integer := true
	if p.at < len(p.text) && p.text[p.at] == '.' {
		p.at++
		if integer = false; p.digits() == 0 {
			return nil, p.unexpected()
		}
	}
	if p.at < len(p.text) && (p.text[p.at] == 'e' || p.text[p.at] == 'E') {
		integer = false
		if p.at++; p.at < len(p.text) && (p.text[p.at] == '+' || p.text[p.at] == '-') {
			p.at++
		}
		if p.digits() == 0 {
			return nil, p.unexpected()
		}
	}
	text := p.text[from:p.at]
	const exact = 15 // digits that a double always holds
	if integer && whole <= exact && text != "-0" {
		n, err := strconv.ParseInt(text, 10, 64)
		return p.r.ToValue(n), err
	}
	f, err := strconv.ParseFloat(text, 64)
	if math.IsInf(f, 0) {
		err = nil // as JSON.parse has it
	}
	return p.r.ToValue(f), err
}

func (p *reader) digits() (count int) {
	for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
		p.at++
		count++
	}
	return count
}

// string reads a text; p.at is at its opening quote.
func (p *reader) string() (goja.Value, error) {
	from := p.at + 1
	for i := from; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			p.at = i + 1
			return p.r.ToValue(p.text[from:i]), nil
		case c == '\\':
			p.at = i
			return p.escaped(from)
		case c < ' ':
			p.at = i
			return nil, p.unexpected()
		}
	}
	p.at = len(p.text)
	return nil, p.unexpected()
}

// escaped reads a text from its first escape on.
func (p *reader) escaped(from int) (goja.Value, error) {
	units := utf16.Encode([]rune(p.text[from:p.at]))
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return goja.StringFromUTF16(units), nil
		case c == '\\':
			unit, err := p.escape()
			if err != nil {
				return nil, err
			}
			units = append(units, unit)
		case c < ' ':
			return nil, p.unexpected()
		case c < utf8.RuneSelf:
			units = append(units, uint16(c))
			p.at++
		default:
			found, size := utf8.DecodeRuneInString(p.text[p.at:])
			units = utf16.AppendRune(units, found)
			p.at += size
		}
	}
	return nil, p.unexpected()
}

var escapes = map[byte]uint16{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads what a backslash begins.
func (p *reader) escape() (uint16, error) {
	if p.at++; p.at >= len(p.text) {
		return 0, p.unexpected()
	}
	c := p.text[p.at]
	if unit, ok := escapes[c]; ok {
		p.at++
		return unit, nil
	}
	if c != 'u' {
		return 0, p.unexpected()
	}
	const digits = 4
	p.at++
	for i := range digits {
		if p.at+i >= len(p.text) || !hexadecimal(p.text[p.at+i]) {
			p.at = min(p.at+i, len(p.text))
			return 0, p.unexpected()
		}
	}
	unit, err := strconv.ParseUint(p.text[p.at:p.at+digits], 16, 16)
	p.at += digits
	return uint16(unit), err
}

func hexadecimal(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
