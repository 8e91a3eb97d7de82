package packet

import (
	"encoding/binary"
	"errors"
)

// What is wrong with a datagram. With every error but ErrShort and ErrVersion the Message's
// Type and ID are valid, as needed to reject it (RFC 7252 §4.2).
var (
	// ErrShort: there is not even a header. Nothing can be answered.
	ErrShort = errors.New("shorter than a header")
	// ErrVersion: not version 1; must be ignored silently (RFC 7252 §3).
	ErrVersion = errors.New("unknown version")
	// ErrToken: a token of more than eight bytes, or cut off.
	ErrToken = errors.New("bad token")
	// ErrOption: an option that is cut off, uses a reserved length or a number above 65535.
	ErrOption = errors.New("bad option")
	// ErrPayload: a payload marker that nothing follows.
	ErrPayload = errors.New("payload marker without payload")
	// ErrCode: a code of a reserved class, or an empty message that is not empty.
	ErrCode = errors.New("bad code")
)

// Parse reads one datagram. The Message points into it.
func Parse(datagram []byte) (Message, error) {
	if len(datagram) < HeaderSize {
		return Message{}, ErrShort
	}
	if datagram[0]>>6 != version {
		return Message{}, ErrVersion
	}
	m := Message{
		Type: Type(datagram[0] >> 4 & 3),
		Code: Code(datagram[1]),
		ID:   binary.BigEndian.Uint16(datagram[2:4]),
	}
	tokenSize := int(datagram[0] & 15)
	rest := datagram[HeaderSize:]
	switch {
	case m.Code == Empty && (tokenSize != 0 || len(rest) != 0): // RFC 7252 §4.1
		return m, ErrCode
	case m.Code != Empty && !m.Code.IsRequest() && !m.Code.IsResponse():
		return m, ErrCode
	case tokenSize > MaxTokenSize || tokenSize > len(rest):
		return m, ErrToken
	}
	m.Token, rest = rest[:tokenSize:tokenSize], rest[tokenSize:]
	size, err := optionsSize(rest)
	if err != nil {
		return m, err
	}
	m.Options, rest = Options(rest[:size:size]), rest[size:]
	if len(rest) == 0 {
		return m, nil
	}
	if m.Payload = rest[1:]; len(m.Payload) == 0 {
		return m, ErrPayload
	}
	return m, nil
}

// optionsSize checks the options at the start of b and returns how many bytes they take, up to
// the payload marker or the end.
func optionsSize(b []byte) (int, error) {
	at, number := 0, 0
	for at < len(b) && b[at] != payloadMarker {
		delta, length, size := optionHeader(b[at:])
		if size == 0 {
			return 0, ErrOption
		}
		number += delta
		at += size + length
		if number > 0xffff || at > len(b) {
			return 0, ErrOption
		}
	}
	return at, nil
}

// optionHeader reads an option's delta and length and the size of both (RFC 7252 §3.1); size 0
// means that they are cut off or use the reserved 15.
func optionHeader(b []byte) (delta, length, size int) {
	delta, length, size = int(b[0]>>4), int(b[0]&15), 1
	if delta, size = extended(b, delta, size); size == 0 {
		return 0, 0, 0
	}
	length, size = extended(b, length, size)
	return delta, length, size
}

// extended resolves the nibble n, whose extension, if it has one, starts at b[at].
func extended(b []byte, n, at int) (value, next int) {
	switch n {
	case 13:
		if len(b) < at+1 {
			return 0, 0
		}
		return int(b[at]) + 13, at + 1
	case 14:
		if len(b) < at+2 {
			return 0, 0
		}
		return int(binary.BigEndian.Uint16(b[at:])) + 269, at + 2
	case 15:
		return 0, 0
	}
	return n, at
}
