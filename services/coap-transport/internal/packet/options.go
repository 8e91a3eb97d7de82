package packet

import (
	"encoding/binary"
	"iter"
)

// Option is an option's number. Odd numbers are critical: who does not know one must refuse the
// message (RFC 7252 §5.4.1).
type Option uint16

// The options that are read or written here (RFC 7252 §12.2; 6: RFC 7641; 23, 27, 28: RFC 7959; 252, 292: RFC 9175).
const (
	URIHost       Option = 3
	ETag          Option = 4
	Observe       Option = 6
	URIPort       Option = 7
	URIPath       Option = 11
	ContentFormat Option = 12
	MaxAge        Option = 14
	URIQuery      Option = 15
	Accept        Option = 17
	Block2        Option = 23
	Block1        Option = 27
	Size2         Option = 28
	ProxyURI      Option = 35
	ProxyScheme   Option = 39
	Size1         Option = 60
	Echo          Option = 252
	RequestTag    Option = 292
)

// Critical reports whether a message with this option must be refused by who does not know it.
func (o Option) Critical() bool { return o&1 == 1 }

// Options are a message's options in their encoding, checked by Parse.
type Options []byte

// All yields each option with its value, in ascending order of number. Values point into o.
func (o Options) All() iter.Seq2[Option, []byte] {
	return func(yield func(Option, []byte) bool) {
		rest, number := []byte(o), 0
		for len(rest) > 0 {
			delta, length, size := optionHeader(rest)
			number += delta
			if !yield(Option(number), rest[size:size+length:size+length]) {
				return
			}
			rest = rest[size+length:]
		}
	}
}

// Uint reads an option's value as an unsigned integer (RFC 7252 §3.2); false when it has more than four bytes.
func Uint(value []byte) (uint32, bool) {
	if len(value) > 4 {
		return 0, false
	}
	var n uint32
	for _, b := range value {
		n = n<<8 | uint32(b)
	}
	return n, true
}

// AppendOption appends option o after option previous (0: it is the first). Options go in
// ascending order of number.
func AppendOption(dst []byte, previous, o Option, value []byte) []byte {
	delta, deltaMore := nibble(int(o - previous))
	length, lengthMore := nibble(len(value))
	dst = append(dst, delta<<4|length)
	dst = appendExtension(dst, delta, deltaMore)
	dst = appendExtension(dst, length, lengthMore)
	return append(dst, value...)
}

// AppendUint is AppendOption for an unsigned integer in its shortest form.
func AppendUint(dst []byte, previous, o Option, value uint32) []byte {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], value)
	first := 0
	for first < 4 && b[first] == 0 {
		first++
	}
	return AppendOption(dst, previous, o, b[first:])
}

// nibble splits n into the four bits of an option's first byte and what its extension holds.
func nibble(n int) (bits byte, more int) {
	switch {
	case n < 13:
		return byte(n), 0
	case n < 269:
		return 13, n - 13
	}
	return 14, n - 269
}

func appendExtension(dst []byte, bits byte, more int) []byte {
	switch bits {
	case 13:
		return append(dst, byte(more))
	case 14:
		return append(dst, byte(more>>8), byte(more))
	}
	return dst
}

// Block is the value of a Block1 or Block2 option (RFC 7959 §2.2).
type Block struct {
	Number uint32
	More   bool
	// Exponent is SZX: a block has 2^(Exponent+4) bytes. 7 is reserved.
	Exponent uint8
}

// ParseBlock reads a block option's value; false when it has more than three bytes or the reserved size.
func ParseBlock(value []byte) (Block, bool) {
	n, ok := Uint(value)
	b := Block{Number: n >> 4, More: n&8 != 0, Exponent: uint8(n & 7)}
	return b, ok && len(value) <= 3 && b.Exponent != 7
}

// Value is the option's value as an unsigned integer.
func (b Block) Value() uint32 {
	n := b.Number<<4 | uint32(b.Exponent)
	if b.More {
		n |= 8
	}
	return n
}

// Size is how many bytes a block has.
func (b Block) Size() int { return 1 << (b.Exponent + 4) }

// The smallest and the largest exponent of a block.
const (
	MinExponent = 0
	MaxExponent = 6
)

// ExponentOf returns the exponent of the largest block that has at most size bytes, the smallest one's at least.
func ExponentOf(size int) uint8 {
	e := uint8(MaxExponent)
	for e > MinExponent && 1<<(e+4) > size {
		e--
	}
	return e
}
