// Package route tells what a CoAP request is for: method, path and options to an action, or the
// code it is refused with. It reads nothing but the message.
package route

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

// Action is what a request asks for.
type Action uint8

// The actions. Refused is the zero Request's: Code says how.
const (
	Refused Action = iota
	PostTelemetry
	PostAttributes
	ReadAttributes
	ObserveAttributes // or, with Observe = 1, do so no more
	ObserveRPC
	CallRPC  // the device asks its rule chain
	ReplyRPC // the device answers a request
	Claim
	Provision
	ReadFirmware
	ReadSoftware
)

// Request is a request understood. What is of bytes points into the datagram.
type Request struct {
	Action Action
	// Code answers a request that is Refused.
	Code packet.Code
	// Token is the device's access token; empty when the path has none, as a device's that its connection names.
	Token []byte
	// ID is the request that ReplyRPC answers.
	ID int32
	// Cancel: Observe was 1 (RFC 7641 §2).
	Cancel bool

	// ClientKeys and SharedKeys are the comma-separated names of attributes to read; Has* says
	// that they were given.
	ClientKeys, SharedKeys       []byte
	HasClientKeys, HasSharedKeys bool
	// Title and Version say which package the device means; Size and Chunk which part of it, Size 0: all of it.
	Title, Version []byte
	Size, Chunk    int64

	// Format is the Content-Format of the payload, Accept that of the answer; Has* says that they were given.
	Format, Accept       uint32
	HasFormat, HasAccept bool
	// Block1 is the upload's block (RFC 7959); HasBlock1 says that there is one. Size1 is how large the upload says it is.
	Block1    packet.Block
	HasBlock1 bool
	Size1     uint32
	// Block2 is the block of the answer that the peer wants; HasBlock2 says that it does.
	Block2    packet.Block
	HasBlock2 bool
	// Echo is what the peer was told to send back (RFC 9175 §2).
	Echo []byte
	// RequestTag tells one upload from another of the same path (RFC 9175 §3).
	RequestTag []byte

	observes bool
	invalid  packet.Code // what a query item that cannot be is refused with
}

// features are the fourth path segments there are, in lower case, and what they are for.
// A method without an entry of its own is refused with 4.00.
var features = map[string]map[packet.Code]Action{
	"telemetry":  {packet.Post: PostTelemetry},
	"attributes": {packet.Post: PostAttributes, packet.Get: ReadAttributes},
	"rpc":        {packet.Post: CallRPC, packet.Get: ObserveRPC},
	"claim":      {packet.Post: Claim},
}

// Formats of payloads (RFC 7252 §12.3).
const (
	JSONFormat   = 50 // application/json
	BinaryFormat = 42 // application/octet-stream, in which protobuf goes too
)

// Parse understands m, which is a request.
func Parse(m packet.Message) Request {
	var r Request
	var path path
	for option, value := range m.Options.All() {
		if code := r.option(&path, option, value); code != packet.Empty {
			return Request{Code: code}
		}
	}
	if m.Code != packet.Get && m.Code != packet.Post {
		return Request{Code: packet.MethodNotAllowed}
	}
	if code := r.resolve(&path, m.Code); code != packet.Empty {
		return Request{Code: code}
	}
	if r.invalid != packet.Empty && r.IsPackage() {
		return Request{Code: r.invalid}
	}
	return r
}

// IsPackage reports whether r asks for firmware or software.
func (r *Request) IsPackage() bool { return r.Action == ReadFirmware || r.Action == ReadSoftware }

// IsObserve reports whether r begins or ends an observation.
func (r *Request) IsObserve() bool { return r.Action == ObserveAttributes || r.Action == ObserveRPC }

// Keep makes r independent of the datagram.
func (r *Request) Keep() {
	for _, field := range []*[]byte{&r.Token, &r.ClientKeys, &r.SharedKeys, &r.Title, &r.Version, &r.Echo, &r.RequestTag} {
		*field = slices.Clone(*field)
	}
}

// option takes one option in and returns the code to refuse the request with, or Empty.
func (r *Request) option(p *path, o packet.Option, value []byte) packet.Code {
	valid := true
	switch o {
	case packet.URIPath:
		valid = p.add(value)
	case packet.URIQuery:
		r.query(value)
	case packet.URIHost, packet.URIPort:
		// There is one host here, whatever it is called.
	case packet.Observe:
		n, ok := packet.Uint(value) // of another value it is as if it were not there (RFC 7641 §2)
		r.observes, r.Cancel = ok && n <= 1, ok && n == 1
	case packet.ContentFormat:
		r.Format, r.HasFormat = packet.Uint(value)
	case packet.Accept:
		r.Accept, valid = packet.Uint(value)
		if r.HasAccept = true; valid && r.Accept != JSONFormat && r.Accept != BinaryFormat {
			return packet.NotAcceptable
		}
	case packet.ProxyURI, packet.ProxyScheme:
		return packet.ProxyingNotSupported
	default:
		valid = r.transfer(o, value) || !o.Critical()
	}
	if !valid {
		return packet.BadOption
	}
	return packet.Empty
}

// The longest values of options that are sent back or compared (RFC 9175 §2.2.1, §3.2.1).
const (
	maxEcho = 40
	maxTag  = 8
)

// transfer takes an option in that says how request and answer are to travel; false when it is none, or not valid.
func (r *Request) transfer(o packet.Option, value []byte) (valid bool) {
	switch o {
	case packet.Block1:
		r.Block1, valid = packet.ParseBlock(value)
		r.HasBlock1 = true
	case packet.Block2:
		r.Block2, valid = packet.ParseBlock(value)
		r.HasBlock2 = true
	case packet.Size1:
		r.Size1, valid = packet.Uint(value)
	case packet.Echo:
		if valid = len(value) <= maxEcho; valid {
			r.Echo = value
		}
	case packet.RequestTag:
		if valid = len(value) <= maxTag; valid {
			r.RequestTag = value
		}
	}
	return valid
}

func (r *Request) query(item []byte) {
	name, value, _ := bytes.Cut(item, []byte("="))
	switch string(name) {
	case "clientKeys":
		r.ClientKeys, r.HasClientKeys = value, true
	case "sharedKeys":
		r.SharedKeys, r.HasSharedKeys = value, true
	case "title":
		r.Title = value
	case "version":
		r.Version = value
	case "size":
		r.count(&r.Size, value)
	case "chunk":
		r.count(&r.Chunk, value)
	}
}

// count reads a number of a package's part. Its product with another must not overflow.
func (r *Request) count(into *int64, value []byte) {
	n, err := strconv.ParseInt(string(value), 10, 31)
	if err != nil || n < 0 {
		r.invalid = packet.BadRequest
	}
	*into = n
}
