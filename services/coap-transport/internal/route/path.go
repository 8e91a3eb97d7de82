package route

import (
	"bytes"
	"strconv"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

// maxSegments is one more than the longest path there is: api/v1/{token}/rpc/{id}.
const maxSegments = 6

// path is a request's path. Segments point into the datagram.
type path struct {
	segments [maxSegments][]byte
	length   int
}

// add takes one Uri-Path option; false when the path is longer than any there is. Clients
// without a notion of segments send the whole path as one option, slashes and all.
func (p *path) add(value []byte) bool {
	if p.length == 0 {
		value = bytes.TrimPrefix(value, []byte("/"))
	}
	for {
		segment, rest, more := bytes.Cut(value, []byte("/"))
		if p.length == maxSegments {
			return false
		}
		p.segments[p.length] = segment
		p.length++
		if !more {
			return true
		}
		value = rest
	}
}

// resolve finds what the path is for under method, and returns the code to refuse it with, or Empty.
func (r *Request) resolve(p *path, method packet.Code) packet.Code {
	switch {
	case p.length > 0 && (p.is(0, "fw") || p.is(0, "sw")):
		return r.resolvePackage(p, method)
	case p.length < 2 || !p.is(0, "api") || !p.is(1, "v1"):
		return packet.NotFound
	case p.length == 3 && p.is(2, "provision"):
		if method != packet.Post {
			return packet.BadRequest
		}
		r.Action = Provision
		return packet.Empty
	}
	var lower [16]byte
	name := p.feature()
	if len(name) > len(lower) {
		return packet.BadRequest
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	found, ok := features[string(lower[:len(name)])][method]
	if !ok {
		return packet.BadRequest
	}
	r.Token = p.token()
	return r.refine(p, found)
}

// refine tells apart what one method and feature stand for.
func (r *Request) refine(p *path, found Action) packet.Code {
	switch {
	case found == ReadAttributes && r.observes:
		found = ObserveAttributes
	case found == ObserveRPC && !r.observes && r.Block2.Number == 0: // else it is the rest of a long one
		return packet.BadRequest
	case found == CallRPC && p.hasID():
		id, err := strconv.ParseInt(string(p.segments[p.length-1]), 10, 32)
		if err != nil || id < 0 {
			return packet.BadRequest
		}
		r.ID, found = int32(id), ReplyRPC
	}
	r.Action = found
	return packet.Empty
}

// resolvePackage is resolve for fw/{token} and sw/{token}; a device that its connection names may leave the token out.
func (r *Request) resolvePackage(p *path, method packet.Code) packet.Code {
	switch {
	case method != packet.Get:
		return packet.MethodNotAllowed
	case p.length > 2:
		return packet.NotFound
	case p.length == 2:
		r.Token = p.segments[1]
	}
	r.Action = ReadFirmware
	if p.is(0, "sw") {
		r.Action = ReadSoftware
	}
	return packet.Empty
}

func (p *path) is(i int, name string) bool { return string(p.segments[i]) == name }

// tokenless reports whether the path is one of those of a device that its connection names:
// api/v1/{feature}, or api/v1/rpc/{id}.
func (p *path) tokenless() bool {
	return p.length == 3 || p.length == 4 && numeric(p.segments[3])
}

// hasID reports whether the path ends with a request's id, behind the feature.
func (p *path) hasID() bool {
	return p.length == 5 || p.length == 4 && p.tokenless()
}

// feature is the path's fourth segment, the third of a tokenless path.
func (p *path) feature() []byte {
	if p.tokenless() {
		return p.segments[2]
	}
	return p.segments[3]
}

// token is the device's token in the path; nil when there is none.
func (p *path) token() []byte {
	if p.tokenless() {
		return nil
	}
	return p.segments[2]
}

func numeric(s []byte) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) > 0
}
