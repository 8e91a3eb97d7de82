package exchange

import "github.com/sluice-iot/sluice/services/coap-transport/internal/packet"

// Answer is a response before the message layer gave it its form. What it points to is not kept.
type Answer struct {
	Code    packet.Code
	Payload []byte
	// ETag, of at most eight bytes, tells representations of one resource apart.
	ETag []byte
	// HasObserve says that Observe, of 24 bits, is sent (RFC 7641 §2).
	HasObserve bool
	Observe    uint32
	// HasFormat says that ContentFormat is sent (RFC 7252 §12.3).
	HasFormat     bool
	ContentFormat uint32
	// MaxAge in seconds is sent when not zero: with 5.03 and 4.29, when to try again.
	MaxAge uint32
	// HasBlock2 says that Payload is the block Block2 of a longer one (RFC 7959 §2.2), of which Size2 is the length if not zero.
	HasBlock2 bool
	Block2    uint32
	Size2     uint32
	// HasBlock1 echoes the request's Block1 (RFC 7959 §2.3).
	HasBlock1 bool
	Block1    uint32
	// Size1 is sent when not zero: with 4.13, the largest payload taken.
	Size1 uint32
	// Echo is for the peer to send back (RFC 9175 §2).
	Echo []byte
	// Remember says that the request had an effect, so that its retransmission gets this answer
	// again; otherwise it would be handled anew, with the same result.
	Remember bool
	// Separate has a confirmable request answered so that the peer shows that it is where it says: in a confirmable message of its
	// own. One block of several goes with the acknowledgement, after a ping: there are clients that ask for no further blocks else.
	Separate bool
}

// Append appends the answer's options and payload after a header.
func (a *Answer) Append(dst []byte) []byte {
	var last packet.Option
	number := func(send bool, o packet.Option, value uint32) {
		if send {
			dst = packet.AppendUint(dst, last, o, value)
			last = o
		}
	}
	bytes := func(o packet.Option, value []byte) {
		if len(value) > 0 {
			dst = packet.AppendOption(dst, last, o, value)
			last = o
		}
	}
	bytes(packet.ETag, a.ETag)
	number(a.HasObserve, packet.Observe, a.Observe)
	number(a.HasFormat, packet.ContentFormat, a.ContentFormat)
	number(a.MaxAge != 0, packet.MaxAge, a.MaxAge)
	number(a.HasBlock2, packet.Block2, a.Block2)
	number(a.HasBlock1, packet.Block1, a.Block1)
	number(a.Size2 != 0, packet.Size2, a.Size2)
	number(a.Size1 != 0, packet.Size1, a.Size1)
	bytes(packet.Echo, a.Echo)
	return packet.AppendPayload(dst, a.Payload)
}
