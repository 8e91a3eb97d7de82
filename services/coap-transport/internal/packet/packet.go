// Package packet is CoAP's wire format over UDP (RFC 7252 §3): one datagram is one message.
// Parsing allocates nothing; what it returns points into the datagram.
package packet

import "fmt"

// Type is a message's type (RFC 7252 §3).
type Type uint8

// The message types.
const (
	Confirmable Type = iota
	NonConfirmable
	Acknowledgement
	Reset
)

// Code is a method or response code: three bits of class, five of detail (RFC 7252 §12.1).
type Code uint8

// The codes that are read or written here (RFC 7252 §12.1; 2.31, 4.08: RFC 7959 §2.9; 4.29: RFC 8516).
const (
	Empty  Code = 0
	Get    Code = 1
	Post   Code = 2
	Put    Code = 3
	Delete Code = 4

	Created              Code = 2<<5 | 1
	Deleted              Code = 2<<5 | 2
	Valid                Code = 2<<5 | 3
	Content              Code = 2<<5 | 5
	Continue             Code = 2<<5 | 31
	BadRequest           Code = 4 << 5
	Unauthorized         Code = 4<<5 | 1
	BadOption            Code = 4<<5 | 2
	NotFound             Code = 4<<5 | 4
	MethodNotAllowed     Code = 4<<5 | 5
	NotAcceptable        Code = 4<<5 | 6
	Incomplete           Code = 4<<5 | 8
	TooLarge             Code = 4<<5 | 13
	TooManyRequests      Code = 4<<5 | 29
	InternalServerError  Code = 5 << 5
	NotImplemented       Code = 5<<5 | 1
	ServiceUnavailable   Code = 5<<5 | 3
	GatewayTimeout       Code = 5<<5 | 4
	ProxyingNotSupported Code = 5<<5 | 5
)

// Class returns the code's class: 0 for requests, 2, 4 and 5 for responses.
func (c Code) Class() uint8 { return uint8(c >> 5) }

// String returns the code as it is usually written, such as "4.04".
func (c Code) String() string { return fmt.Sprintf("%d.%02d", c>>5, c&31) }

// IsRequest reports whether c is a method, known or not.
func (c Code) IsRequest() bool { return c.Class() == 0 && c != Empty }

// IsResponse reports whether c answers a request.
func (c Code) IsResponse() bool { return c.Class() == 2 || c.Class() == 4 || c.Class() == 5 }

// Limits of the format (RFC 7252 §3).
const (
	HeaderSize   = 4
	MaxTokenSize = 8

	version       = 1
	payloadMarker = 0xff
)

// Message is one parsed datagram. Token, Options and Payload point into it.
type Message struct {
	Type    Type
	Code    Code
	ID      uint16
	Token   []byte
	Options Options
	Payload []byte
}

// Size is how many bytes the message has.
func (m Message) Size() int {
	size := HeaderSize + len(m.Token) + len(m.Options)
	if len(m.Payload) > 0 {
		size += 1 + len(m.Payload)
	}
	return size
}

// AppendHeader appends a message's header and token; options and payload may follow.
// token is of at most MaxTokenSize bytes.
func AppendHeader(dst []byte, t Type, c Code, id uint16, token []byte) []byte {
	dst = append(dst, version<<6|byte(t)<<4|byte(len(token)), byte(c), byte(id>>8), byte(id))
	return append(dst, token...)
}

// AppendPayload appends the payload with its marker; an empty payload has none.
func AppendPayload(dst, payload []byte) []byte {
	if len(payload) == 0 {
		return dst
	}
	return append(append(dst, payloadMarker), payload...)
}
