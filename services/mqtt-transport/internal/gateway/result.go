package gateway

import (
	"errors"
	"sync/atomic"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/transport"
)

// Result is what became of a gateway's message. Of one that speaks of several devices it is the worst of theirs: the Results
// are in the order of how much the gateway has to gain from learning of them.
type Result uint32

// The results.
const (
	Accepted Result = iota
	Answered        // a request, being answered
	Unknown         // the topic means nothing
	// Malformed: the message, or what it says of one device, is not what the format allows. Other devices' share holds.
	Malformed
	Unanswerable // a request about a device that could not be found
	Refused      // a device could not be found or created, for a reason that lasts
	TooMany      // a device is one too many, of the tenant's or of the gateway's
	Limited      // more was sent than the rates allow
	Unavailable  // the platform did not take something on, or not in time
	Unusable     // the message as a whole says nothing that can be done; the gateway is out of step
)

func (r Result) String() string {
	return [...]string{
		"accepted", "answered", "unknown", "malformed", "unanswerable", "refused", "too_many", "limited", "unavailable", "unusable",
	}[r]
}

// The reasons in a notice that a device was refused (device-api §2.1).
const (
	noticeOther   = 128
	noticeLimited = 150
)

// notice is the reason a gateway is told for a device that ended in r; 0 is none.
func (r Result) notice() int {
	switch r {
	case Limited:
		return noticeLimited
	case Refused, TooMany, Unavailable:
		return noticeOther
	}
	return 0
}

// resultOf is what becomes of what the platform refused with err.
func resultOf(err error) Result {
	switch {
	case err == nil:
		return Accepted
	case errors.Is(err, errUnusable):
		return Unusable
	case errors.Is(err, errMalformed), errors.Is(err, transport.ErrTooLarge):
		return Malformed
	case errors.Is(err, transport.ErrTooManyDevices), errors.Is(err, errTooManyHere):
		return TooMany
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		return Malformed
	case fault.Limited:
		return Limited
	case fault.Unavailable, fault.Internal:
		return Unavailable
	}
	return Refused
}

// openingResult is the same of a device that could not be found, created or opened: what is wrong is the device then.
func openingResult(err error) Result {
	if r := resultOf(err); r != Malformed {
		return r
	}
	return Refused
}

// errTooManyHere: the gateway has as many devices as it may have at a time.
var errTooManyHere = fault.New(fault.Limited, "the gateway has as many devices as it may have")

// publication is one message of a gateway: it is concluded when all its parts are.
type publication struct {
	gateway *Gateway
	receipt Receipt
	left    atomic.Int32 // parts, and one while the message is being taken apart
	worst   atomic.Uint32
}

// begin returns a publication, to be ended once more than it has parts.
func (g *Gateway) begin(r Receipt) *publication {
	p := g.hub.publications.Get().(*publication)
	p.gateway, p.receipt = g, r
	p.left.Store(1)
	p.worst.Store(uint32(Accepted))
	return p
}

// end ends a part that came to r.
func (p *publication) end(r Result) {
	for {
		worst := p.worst.Load()
		if uint32(r) <= worst || p.worst.CompareAndSwap(worst, uint32(r)) {
			break
		}
	}
	if p.left.Add(-1) > 0 {
		return
	}
	hub, receipt, worst := p.gateway.hub, p.receipt, Result(p.worst.Load())
	p.gateway, p.receipt = nil, nil
	hub.publications.Put(p)
	receipt.Concluded(worst)
}
