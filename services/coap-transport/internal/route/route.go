// Package route tells what a CoAP request is for: method, path and options to an action, or the
// code it is refused with. It reads nothing but the message.
package route

import (
	"bytes"

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
)

// Request is a request understood. Token and Query* point into the datagram.
type Request struct {
	Action Action
	// Code answers a request that is Refused.
	Code packet.Code
	// Token is the device's access token.
	Token []byte
	// ClientKeys and SharedKeys are the comma-separated names of attributes to read; Has* says
	// that they were given.
	ClientKeys, SharedKeys       []byte
	HasClientKeys, HasSharedKeys bool
	// Block1 is the upload's block (RFC 7959); HasBlock1 says that there is one.
	Block1    packet.Block
	HasBlock1 bool
	// Block2 is the size of block the peer wants for the response; HasBlock2 says that it does.
	Block2    packet.Block
	HasBlock2 bool
}

// features are the fourth path segments there are, in lower case, and what they are for.
// A method without an entry of its own is refused with 4.00.
var features = map[string]map[packet.Code]outcome{
	"telemetry":  {packet.Post: {action: PostTelemetry}},
	"attributes": {packet.Post: {action: PostAttributes}, packet.Get: {action: ReadAttributes}},
	"rpc":        {packet.Post: {code: packet.NotImplemented}},
	"claim":      {packet.Post: {code: packet.NotImplemented}},
}

type outcome struct {
	action Action
	code   packet.Code
}

// JSONFormat is application/json (RFC 7252 §12.3), the one format of answers.
const JSONFormat = 50

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
	found := path.resolve(m.Code)
	if found.code != packet.Empty {
		return Request{Code: found.code}
	}
	if len(path.token()) == 0 {
		return Request{Code: packet.Unauthorized}
	}
	r.Action, r.Token = found.action, path.token()
	return r
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
	case packet.Block1:
		r.Block1, valid = packet.ParseBlock(value)
		r.HasBlock1 = true
	case packet.Block2:
		r.Block2, valid = packet.ParseBlock(value)
		valid = valid && r.Block2.Number == 0
		r.HasBlock2 = true
	case packet.Accept:
		if format, ok := packet.Uint(value); !ok || format != JSONFormat {
			return packet.NotAcceptable
		}
	case packet.ProxyURI, packet.ProxyScheme:
		return packet.ProxyingNotSupported
	default:
		valid = !o.Critical()
	}
	if !valid {
		return packet.BadOption
	}
	return packet.Empty
}

func (r *Request) query(item []byte) {
	name, value, _ := bytes.Cut(item, []byte("="))
	switch string(name) {
	case "clientKeys":
		r.ClientKeys, r.HasClientKeys = value, true
	case "sharedKeys":
		r.SharedKeys, r.HasSharedKeys = value, true
	}
}
