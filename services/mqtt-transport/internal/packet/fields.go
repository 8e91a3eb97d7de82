package packet

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// fields reads the fields of a packet one after the other. After the first that is not there
// all are zero, and err says why.
type fields struct {
	b   []byte
	err *Error
}

func (f *fields) fail(err *Error) {
	if f.err == nil {
		f.err = err
	}
	f.b = nil
}

func (f *fields) take(n int) []byte {
	if len(f.b) < n {
		f.fail(ErrTruncated)
		return nil
	}
	taken := f.b[:n:n]
	f.b = f.b[n:]
	return taken
}

func (f *fields) byte() byte {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) uint16() uint16 {
	if b := f.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (f *fields) uint32() uint32 {
	if b := f.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// varint reads a variable byte integer (MQTT 5 §1.5.5).
func (f *fields) varint() int {
	n := 0
	for shift := 0; shift < 28; shift += 7 {
		b := f.byte()
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	f.fail(ErrLength)
	return 0
}

// binary reads binary data: two bytes of length, then the data.
func (f *fields) binary() []byte { return f.take(int(f.uint16())) }

// text reads a UTF-8 string (§1.5.4).
func (f *fields) text() []byte {
	s := f.binary()
	if !utf8.Valid(s) || bytes.IndexByte(s, 0) >= 0 {
		f.fail(ErrText)
		return nil
	}
	return s
}

func (f *fields) packetID() uint16 {
	id := f.uint16()
	if id == 0 {
		f.fail(ErrPacketID)
	}
	return id
}

// end checks that nothing is left.
func (f *fields) end() *Error {
	if f.err == nil && len(f.b) > 0 {
		f.err = ErrTrailing
	}
	return f.err
}
