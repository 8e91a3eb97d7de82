package route

import (
	"bytes"

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

// resolve finds what the path is for under method, or the code to refuse it with.
func (p *path) resolve(method packet.Code) outcome {
	if p.length > 0 && (p.is(0, "fw") || p.is(0, "sw")) {
		if method == packet.Post {
			return outcome{code: packet.MethodNotAllowed}
		}
		return outcome{code: packet.NotImplemented}
	}
	if p.length < 2 || !p.is(0, "api") || !p.is(1, "v1") {
		return outcome{code: packet.NotFound}
	}
	if p.length == 3 && p.is(2, "provision") && method == packet.Post {
		return outcome{code: packet.NotImplemented}
	}
	var lower [16]byte
	name := p.feature()
	if len(name) > len(lower) {
		return outcome{code: packet.BadRequest}
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	found, ok := features[string(lower[:len(name)])][method]
	if !ok {
		return outcome{code: packet.BadRequest}
	}
	return found
}

func (p *path) is(i int, name string) bool { return string(p.segments[i]) == name }

// tokenless reports whether the path is one of those of a device that its certificate names:
// api/v1/{feature}, or api/v1/rpc/{id}.
func (p *path) tokenless() bool {
	return p.length == 3 || p.length == 4 && numeric(p.segments[3])
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
