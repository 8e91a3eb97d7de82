package gateway

import (
	"errors"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// entry is what one message says of one device. It points into the message or into the splitter.
type entry struct {
	name  []byte
	value []byte
	// broken: what is said of this device cannot be read.
	broken bool
}

// What can be wrong with a message as a whole.
var (
	// errMalformed: it is not what the format allows.
	errMalformed = errors.New("the message is malformed")
	// errUnusable: it is well-formed, and says nothing of any device.
	errUnusable = errors.New("the message names no device, or nothing of it")
)

// splitter takes messages apart that speak of several devices. It looks at each byte once, and only so far as to find where
// what is said of a device ends: what is in there is read when that device's readings are published. Reuse it. Not for
// concurrent use.
type splitter struct {
	data    []byte
	pos     int
	open    []byte // the brackets that are open
	entries []entry
	names   []byte // those that were written with escapes
	rewrite rewriter
}

// keptSplit bounds what a splitter keeps between messages, in entries and in bytes.
const keptSplit = 1024

func (s *splitter) reset(data []byte) {
	s.data, s.pos, s.open = data, 0, s.open[:0]
	s.entries, s.names = s.entries[:0], s.names[:0]
	s.rewrite.reset()
	if cap(s.entries) > keptSplit {
		s.entries = nil
	}
	if cap(s.names) > keptSplit {
		s.names = nil
	}
}

// telemetry splits {"A":[…],"B":[…]}. Values that are no arrays are left out; metadata is taken out of the arrays and put
// into s.rewrite.found.
func (s *splitter) telemetry(data []byte) ([]entry, error) {
	entries, err := s.split(data, '[')
	if err == nil && mentionsMetadata(data) {
		for i := range entries {
			e := &entries[i]
			e.value, e.broken = s.rewrite.array(e.value)
		}
	}
	return entries, err
}

// objects splits {"A":{…},"B":{…}}. Values that are no objects are left out.
func (s *splitter) objects(data []byte) ([]entry, error) { return s.split(data, '{') }

// split returns the members of an object that begin with that bracket. A name that comes twice is there twice: both hold, in
// their order. The entries are valid until data changes or s is used again.
func (s *splitter) split(data []byte, bracket byte) ([]entry, error) {
	s.reset(data)
	if s.peek() != '{' {
		if len(data) > 0 && jsontext.Value(data).IsValid(jsontext.AllowDuplicateNames(true)) {
			return nil, errUnusable
		}
		return nil, errMalformed
	}
	s.pos++
	for first := true; ; first = false {
		c := s.peek()
		if c == '}' {
			break
		}
		if !first {
			if c != ',' {
				return nil, errMalformed
			}
			s.pos++
		}
		if err := s.member(bracket); err != nil {
			return nil, err
		}
	}
	s.pos++
	if s.peek(); s.pos < len(data) {
		return nil, errMalformed
	}
	if len(s.entries) == 0 {
		return nil, errUnusable
	}
	return s.entries, nil
}

// member reads "name": and finds the end of the value.
func (s *splitter) member(bracket byte) error {
	if s.peek() != '"' {
		return errMalformed
	}
	name, err := s.name()
	if err != nil {
		return err
	}
	if s.peek() != ':' {
		return errMalformed
	}
	s.pos++
	first := s.peek()
	start := s.pos
	if err := s.skim(first); err != nil {
		return err
	}
	value := s.data[start:s.pos]
	if first != bracket {
		// Nobody else will look at it.
		if !jsontext.Value(value).IsValid(jsontext.AllowDuplicateNames(true)) {
			return errMalformed
		}
		return nil
	}
	if len(name) == 0 {
		return errUnusable
	}
	s.entries = append(s.entries, entry{name: name, value: value})
	return nil
}

// name reads the string at s.pos.
func (s *splitter) name() ([]byte, error) {
	start := s.pos
	if !s.text() {
		return nil, errMalformed
	}
	quoted := s.data[start:s.pos]
	name := quoted[1 : len(quoted)-1]
	plain := true
	for _, c := range name {
		plain = plain && c >= ' ' && c != '\\' && c < utf8.RuneSelf
	}
	if plain {
		return name, nil
	}
	from := len(s.names)
	unquoted, err := jsontext.AppendUnquote(s.names, quoted)
	if err != nil {
		return nil, errMalformed
	}
	s.names = unquoted
	return unquoted[from:len(unquoted):len(unquoted)], nil
}

// text goes past the string at s.pos.
func (s *splitter) text() bool {
	end := textEnd(s.data, s.pos)
	if end < 0 {
		return false
	}
	s.pos = end
	return true
}

// textEnd returns the place after the string that begins at i, -1 when it has no end.
func textEnd(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

// skim goes past the value at s.pos, which begins with first.
func (s *splitter) skim(first byte) error {
	switch first {
	case '"':
		if !s.text() {
			return errMalformed
		}
		return nil
	case '[', '{':
		return s.skimNested()
	}
	start := s.pos
	for s.pos < len(s.data) && !endsScalar[s.data[s.pos]] {
		s.pos++
	}
	if s.pos == start {
		return errMalformed
	}
	return nil
}

// endsScalar marks the bytes that end a number or a literal.
var endsScalar = [256]bool{' ': true, '\t': true, '\n': true, '\r': true, ',': true, '}': true, ']': true, ':': true, '"': true, '{': true, '[': true}

// skimNested goes past an array or object: its brackets match, and what is between them is anybody's guess.
func (s *splitter) skimNested() error {
	data, open := s.data, s.open[:0]
	defer func() { s.open = open }()
	for i := s.pos; i < len(data); i++ {
		c := data[i]
		if !structural[c] {
			continue
		}
		switch c {
		case '"':
			end := textEnd(data, i)
			if end < 0 {
				return errMalformed
			}
			i = end - 1
		case '[', '{':
			open = append(open, c)
		default:
			last := len(open) - 1
			if open[last]+2 != c { // in ASCII, either closing bracket comes two after its opening one
				return errMalformed
			}
			if open = open[:last]; last == 0 {
				s.pos = i + 1
				return nil
			}
		}
	}
	return errMalformed
}

var structural = [256]bool{'"': true, '[': true, ']': true, '{': true, '}': true}

// peek skips space and returns the next byte, 0 at the end.
func (s *splitter) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}
