package payload

import (
	"strings"
	"unicode/utf8"

	"github.com/sluice-iot/sluice/proto/telemetry"
)

// Reason says why a key cannot be stored.
type Reason uint8

// The reasons.
const (
	KeyBlank   Reason = iota // empty, or only space
	KeyTooLong               // more than 255 characters
	KeyUnsafe                // markup, a template expression, or a control character
	reasons
)

func (r Reason) String() string { return [...]string{"blank", "too_long", "unsafe"}[r] }

// Reasons lists every Reason.
func Reasons() []Reason { return []Reason{KeyBlank, KeyTooLong, KeyUnsafe} }

// Dropped counts keys that were left out, by Reason.
type Dropped [reasons]int

func (n *Dropped) add(more Dropped) {
	for i := range n {
		n[i] += more[i]
	}
}

// set is an object's members: the last of each key, in the order of their first appearance.
type set struct {
	values  []telemetry.KeyValue
	index   map[string]int // key → place, in use once there are more than few values
	indexed bool
	nulls   bool
	dropped Dropped
}

// few is how many keys are compared one by one: faster than a map for what devices usually send.
const few = 16

// keptValues bounds what a set keeps between payloads.
const keptValues = 1024

func (s *set) reset() {
	s.values, s.nulls, s.dropped = s.values[:0], false, Dropped{}
	if cap(s.values) > keptValues {
		s.values, s.index = nil, nil
	}
	if s.indexed {
		clear(s.index)
		s.indexed = false
	}
}

// put adds a member. One that is null stays until finish, for it may take back an earlier one.
func (s *set) put(key string, v telemetry.Value) {
	if reason, storable := check(key); !storable {
		s.dropped[reason]++
		return
	}
	if v.Kind == telemetry.None {
		s.nulls = true
	}
	if i := s.find(key); i >= 0 {
		s.values[i].Value = v
		return
	}
	if s.indexed {
		s.index[key] = len(s.values)
	}
	s.values = append(s.values, telemetry.KeyValue{Key: key, Value: v})
}

func (s *set) find(key string) int {
	if len(s.values) <= few {
		for i := range s.values {
			if s.values[i].Key == key {
				return i
			}
		}
		return -1
	}
	if !s.indexed {
		if s.indexed = true; s.index == nil {
			s.index = make(map[string]int, 4*few)
		}
		for i := range s.values {
			s.index[s.values[i].Key] = i
		}
	}
	if i, found := s.index[key]; found {
		return i
	}
	return -1
}

// finish returns the members that have a value.
func (s *set) finish() []telemetry.KeyValue {
	if !s.nulls {
		return s.values
	}
	kept := s.values[:0]
	for _, kv := range s.values {
		if kv.Kind != telemetry.None {
			kept = append(kept, kv)
		}
	}
	return kept
}

// maxKey is the longest key in UTF-16 units, the platform's contract with its clients.
const maxKey = 255

// check says whether key can be stored. The usual key is settled by one look at each byte.
func check(key string) (Reason, bool) {
	if len(key) <= maxKey {
		plain := 0
		for plain < len(key) && isPlain[key[plain]] {
			plain++
		}
		if plain == len(key) && plain > 0 {
			return 0, true
		}
	}
	switch {
	case strings.TrimSpace(key) == "":
		return KeyBlank, false
	case len(key) > maxKey && utf16Length(key) > maxKey:
		return KeyTooLong, false
	case unsafeKey(key):
		return KeyUnsafe, false
	}
	return 0, true
}

// isPlain marks the bytes of which any sequence is a storable key.
var isPlain = func() (plain [256]bool) {
	for c := range plain {
		plain[c] = c > ' ' && c != '<' && c != '{' && c < 0x7f
	}
	return plain
}()

func utf16Length(key string) int {
	units := 0
	for _, r := range key {
		units++
		if r > 0xffff {
			units++
		}
	}
	return units
}

// unsafeKey says whether a page that showed key unescaped would run it or lose it: a tag, a
// comment, a template expression, a control character.
func unsafeKey(key string) bool {
	for i := range len(key) {
		switch c := key[i]; {
		case c < ' ' || c == 0x7f:
			return true
		case c == '<' && i+1 < len(key) && opensTag(key[i+1]):
			return true
		}
	}
	open := strings.Index(key, "{{")
	return open >= 0 && strings.Contains(key[open+2:], "}}") || !utf8.ValidString(key)
}

func opensTag(c byte) bool {
	return c == '/' || c == '!' || c == '?' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
