package schema

import (
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-iot/sluice/proto/fault"
)

// Bounds are what one message may cost to read.
type Bounds struct {
	Values int // values in it, defaults not counted
	Bytes  int // its JSON's size
}

// The refusals of messages, of fault.Invalid.
var (
	errWire   = fault.New(fault.Invalid, "payload is no message of the profile's schema")
	errText   = fault.New(fault.Invalid, "payload has text that is not UTF-8")
	errDeep   = fault.New(fault.Invalid, "payload is nested too deep")
	errValues = fault.New(fault.Invalid, "payload has too many values")
	errBytes  = fault.New(fault.Invalid, "payload is too large as JSON")
)

// node is a message that was read, by its fields' index.
type node struct {
	of     *message
	values []values
}

// values are a field's: the last one, or all of a repeated one.
type values struct {
	set  bool
	one  value
	many []value
}

// value is a number's bits, text, or a message.
type value struct {
	bits  uint64
	text  []byte
	child *node
}

// reader reads one message; left is how many more values it may have.
type reader struct{ left int }

func newNode(m *message) *node { return &node{of: m, values: make([]values, len(m.fields))} }

// read adds what data holds to n: a message that comes in several parts is all of them together.
func (r *reader) read(n *node, data []byte, depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	for len(data) > 0 {
		number, wire, size := protowire.ConsumeTag(data)
		if size < 0 {
			return errWire
		}
		data = data[size:]
		if size = protowire.ConsumeFieldValue(number, wire, data); size < 0 {
			return errWire
		}
		f := n.of.byNumber[number]
		if f != nil {
			if err := r.field(n, f, wire, data[:size], depth); err != nil {
				return err
			}
		}
		data = data[size:]
	}
	return nil
}

// field takes one occurrence of f. One of another wire type is unknown, as protobuf has it.
func (r *reader) field(n *node, f *field, wire protowire.Type, data []byte, depth int) error {
	if wire == protowire.BytesType && f.repeated && f.kind.wire() != protowire.BytesType {
		packed, _ := protowire.ConsumeBytes(data)
		return r.packed(n, f, packed)
	}
	if wire != f.kind.wire() {
		return nil
	}
	if r.left--; r.left < 0 {
		return errValues
	}
	at := &n.values[f.index]
	v := value{}
	if f.kind == kindMessage {
		inner, _ := protowire.ConsumeBytes(data)
		if v.child = at.one.child; v.child == nil || f.repeated {
			v.child = newNode(f.message)
		}
		if err := r.read(v.child, inner, depth+1); err != nil {
			return err
		}
	} else if err := v.scalar(f, data); err != nil {
		return err
	}
	if f.repeated {
		at.many = append(at.many, v)
		return nil
	}
	n.choose(f)
	at.set, at.one = true, v
	return nil
}

// choose unsets the other fields of f's oneof.
func (n *node) choose(f *field) {
	if f.oneof == 0 {
		return
	}
	for _, other := range n.of.fields {
		if other.oneof == f.oneof && other != f {
			n.values[other.index] = values{}
		}
	}
}

func (r *reader) packed(n *node, f *field, data []byte) error {
	at := &n.values[f.index]
	for len(data) > 0 {
		size := protowire.ConsumeFieldValue(f.number, f.kind.wire(), data)
		if size < 0 {
			return errWire
		}
		if r.left--; r.left < 0 {
			return errValues
		}
		v := value{}
		if err := v.scalar(f, data[:size]); err != nil {
			return err
		}
		at.many = append(at.many, v)
		data = data[size:]
	}
	return nil
}

// scalar reads a value that was found to be whole.
func (v *value) scalar(f *field, data []byte) error {
	switch f.kind.wire() {
	case protowire.Fixed32Type:
		bits, _ := protowire.ConsumeFixed32(data)
		v.bits = uint64(bits)
	case protowire.Fixed64Type:
		v.bits, _ = protowire.ConsumeFixed64(data)
	case protowire.BytesType:
		v.text, _ = protowire.ConsumeBytes(data)
		if f.kind == kindString && !utf8.Valid(v.text) {
			return errText
		}
	default:
		v.bits, _ = protowire.ConsumeVarint(data)
		switch f.kind {
		case kindSint32:
			v.bits = uint64(protowire.DecodeZigZag(uint64(uint32(v.bits))))
		case kindSint64:
			v.bits = uint64(protowire.DecodeZigZag(v.bits))
		}
	}
	return nil
}

func (v *value) double(k kind) (f float64, bits int) {
	if k == kindFloat {
		return float64(math.Float32frombits(uint32(v.bits))), 32
	}
	return math.Float64frombits(v.bits), 64
}
