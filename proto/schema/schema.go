// Package schema reads and writes protobuf messages whose schema is known only as text, as device profiles carry them
// (device-api §1.13): proto3 in one file, of which the last message is meant. Messages become JSON by the canonical rules with
// default values included, and JSON becomes messages.
//
// Texts and messages are tenants' and devices': nothing they hold can take more than the limits say.
package schema

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-iot/sluice/proto/fault"
)

// Bounds on a text. What a text may hold is bounded by its size, and nothing is kept that is larger.
const (
	MaxText  = 64 << 10
	maxName  = 255
	maxDepth = 16 // of messages within messages, in texts and on the wire
)

// Schema is a compiled text. Safe for concurrent use.
type Schema struct{ root *message }

// message is a message type.
type message struct {
	name   string // in full, without the package
	fields []*field
	// byNumber and byName find fields; names are as written and as JSON has them.
	byNumber map[protowire.Number]*field
	byName   map[string]*field
	oneofs   int
}

// kind is how a field's value is written.
type kind uint8

const (
	kindDouble kind = iota
	kindFloat
	kindInt32
	kindInt64
	kindUint32
	kindUint64
	kindSint32
	kindSint64
	kindFixed32
	kindFixed64
	kindSfixed32
	kindSfixed64
	kindBool
	kindString
	kindBytes
	kindEnum
	kindMessage
)

var scalars = map[string]kind{
	"double": kindDouble, "float": kindFloat, "int32": kindInt32, "int64": kindInt64, "uint32": kindUint32, "uint64": kindUint64,
	"sint32": kindSint32, "sint64": kindSint64, "fixed32": kindFixed32, "fixed64": kindFixed64, "sfixed32": kindSfixed32,
	"sfixed64": kindSfixed64, "bool": kindBool, "string": kindString, "bytes": kindBytes,
}

// wire returns how single values of k are written.
func (k kind) wire() protowire.Type {
	switch k {
	case kindDouble, kindFixed64, kindSfixed64:
		return protowire.Fixed64Type
	case kindFloat, kindFixed32, kindSfixed32:
		return protowire.Fixed32Type
	case kindString, kindBytes, kindMessage:
		return protowire.BytesType
	default:
		return protowire.VarintType
	}
}

type field struct {
	index    int // among the message's
	number   protowire.Number
	name     string
	json     string
	kind     kind
	typeName string // of an enum or message, as written
	message  *message
	enum     *enum
	repeated bool
	optional bool // tells unset from zero
	oneof    int  // from 1; 0 is none
	isMap    bool // the message is of a key and a value
}

type enum struct {
	names  map[int32]string
	values map[string]int32
}

// Compile compiles a text. The error, of fault.Invalid, says what is wrong and in which line.
func Compile(text string) (*Schema, error) {
	if len(text) > MaxText {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("schema: longer than %d bytes", MaxText))
	}
	p := &parser{lexer: lexer{text: text, line: 1}, messages: map[string]*message{}, enums: map[string]*enum{}}
	if err := p.file(); err != nil {
		return nil, err
	}
	return &Schema{root: p.last}, nil
}

// jsonName is a field's name in JSON: without underscores, what follows one in upper case.
func jsonName(name string) string {
	var out strings.Builder
	upper := false
	for _, c := range []byte(name) {
		switch {
		case c == '_':
			upper = true
			continue
		case upper && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		upper = false
		out.WriteByte(c)
	}
	return out.String()
}
