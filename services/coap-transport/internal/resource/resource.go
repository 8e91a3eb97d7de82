// Package resource is what CoAP devices find here: telemetry and attributes to post, attributes to read and to observe, requests
// both ways, claims, credentials, firmware. It answers each exchange once, and an uplink only when the bus has it.
package resource

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/block"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/observe"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/reach"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/route"
	"github.com/sluice-iot/sluice/transport"
)

// origin is how uplinks of this transport are marked.
var origin = transport.Origin{Transport: "COAP"}

// Devices is what the platform does for devices that tell and read values.
type Devices interface {
	transport.CachedAuthenticator
	transport.Uplinks
	transport.AttributeReader
}

// Platform is what the resources need of the platform.
type Platform interface {
	Devices
	transport.RPCs
	transport.Claims
	transport.Provisioner
	transport.Packages
}

// Limits bound what one request, and all that wait, may take.
type Limits struct {
	// PayloadBytes is the largest payload taken in one datagram, UploadBytes in several; a larger one is answered 4.13.
	PayloadBytes, UploadBytes int
	// AnswerBytes is the largest payload sent in one datagram; a larger one goes in blocks.
	AnswerBytes int
	// Waiting is how many requests may wait at once for the core or for room on the bus; the
	// next is answered 5.03.
	Waiting int
	// Patience is how long a request waits for the core or for room on the bus.
	Patience time.Duration
	// RetryAfter, in seconds, is the Max-Age of 5.03 and 4.29.
	RetryAfter uint32
	// Packages is how many devices' packages are remembered while they are fetched in blocks.
	Packages int
}

// Counts are what the resources count; its methods must be safe for concurrent use.
type Counts interface {
	// Answered: a request got an answer of code.
	Answered(code packet.Code)
	// Panicked: a request ended in a panic, which is a bug; it is answered 5.00.
	Panicked(what any)
}

// Parts are what the resources work with.
type Parts struct {
	Platform  Platform
	Relations *observe.Relations
	Uploads   *block.Uploads
	Bodies    *block.Bodies
	Peers     *reach.Book
	// Holder returns the credentials of whom a secured connection proved to be; false: of nobody.
	Holder func(exchange.Endpoint) (transport.Credentials, bool)
	Counts Counts
	// Now is the time of the exchanges.
	Now func() time.Duration
}

// Resources answers requests. Serve is called from the goroutines that read the sockets and
// never waits; what has to wait does so in a goroutine of its own, of which there are at most Limits.Waiting.
type Resources struct {
	Parts
	limits   Limits
	packages packages

	places  chan struct{}
	waiting sync.WaitGroup
	ctx     context.Context // ends the waiting; belongs to Close
	cancel  context.CancelFunc
}

// New returns Resources made of p.
func New(p Parts, limits Limits) *Resources {
	ctx, cancel := context.WithCancel(context.Background())
	return &Resources{
		Parts: p, limits: limits, packages: packages{most: limits.Packages, now: p.Now},
		places: make(chan struct{}, limits.Waiting), ctx: ctx, cancel: cancel,
	}
}

// Close ends the waiting of requests, which are answered 5.03, and returns when none is left.
// Serve must not be called any more. What is on the bus is not waited for.
func (r *Resources) Close() {
	r.cancel()
	r.waiting.Wait()
}

// Serve answers x, whose message is m. m is not kept. cut says that the datagram was longer
// than what was read of it.
func (r *Resources) Serve(x *exchange.Exchange, m packet.Message, cut bool) {
	w := &work{r: r, x: x, request: route.Parse(m), payload: m.Payload, size: m.Size(), confirmable: m.Type == packet.Confirmable}
	answer, refused := r.refuse(w, cut)
	if refused {
		w.answer(answer)
		return
	}
	if w.request.Action == route.Provision {
		r.later(w.keep(), (*work).provision)
		return
	}
	w.identify()
	if w.credentials == (transport.Credentials{}) {
		w.answer(exchange.Answer{Code: packet.Unauthorized})
		return
	}
	device, known, err := r.Platform.Cached(w.credentials)
	switch {
	case err != nil && w.other():
		r.later(w.keep(), (*work).authenticate)
	case err != nil:
		w.answer(r.failed(err))
	case !known || w.waits():
		r.later(w.keep(), (*work).authenticate)
	default:
		w.device = device
		if w.admit() && !w.submit() {
			r.later(w.keep(), (*work).submitWhenRoom)
		}
	}
}

// refuse checks what can be checked of a request without knowing the device. Nothing that is
// refused here is answered with more than a few bytes: the sender may be anyone.
func (r *Resources) refuse(w *work, cut bool) (exchange.Answer, bool) {
	request := &w.request
	switch {
	case request.Action == route.Refused:
		return exchange.Answer{Code: request.Code}, true
	case cut || len(w.payload) > r.limits.PayloadBytes || request.HasBlock1 && int(request.Size1) > r.limits.UploadBytes:
		return r.tooLarge(), true
	case request.Action == route.Provision && request.HasBlock1 && (request.Block1.Number > 0 || request.Block1.More):
		return r.tooLarge(), true // nothing is kept for strangers
	}
	return exchange.Answer{}, false
}

// tooLarge tells what is taken: so much in all, in blocks (RFC 7959 §2.9.3).
func (r *Resources) tooLarge() exchange.Answer {
	return exchange.Answer{
		Code: packet.TooLarge, Size1: uint32(r.limits.UploadBytes),
		HasBlock1: true, Block1: packet.Block{Exponent: packet.ExponentOf(r.limits.AnswerBytes)}.Value(),
	}
}

// mayUse reports whether the device's profile lets it speak CoAP (device-api §4.1: 5.00 if not).
func mayUse(d *transport.Device) bool {
	return d.TransportType == "" || d.TransportType == "DEFAULT" || d.TransportType == "COAP"
}

// later has step done for w in a goroutine of its own, if there is a place left.
func (r *Resources) later(w *work, step func(*work, context.Context)) {
	select {
	case r.places <- struct{}{}:
	default:
		w.answer(r.busy())
		return
	}
	r.waiting.Go(func() {
		defer func() { <-r.places }()
		defer func() {
			if what := recover(); what != nil {
				r.Recovered(w.x, what)
			}
		}()
		ctx, cancel := context.WithTimeout(r.ctx, r.limits.Patience)
		defer cancel()
		step(w, ctx)
	})
}

// Recovered counts a panic that answering x ended in; what is what recover returned. x is
// answered 5.00 unless it was answered before.
func (r *Resources) Recovered(x *exchange.Exchange, what any) {
	r.Counts.Panicked(fmt.Sprint(what))
	r.answer(x, exchange.Answer{Code: packet.InternalServerError})
}

// busy is the answer to a request there is no room for now.
func (r *Resources) busy() exchange.Answer {
	return exchange.Answer{Code: packet.ServiceUnavailable, MaxAge: r.limits.RetryAfter}
}

func (r *Resources) answer(x *exchange.Exchange, a exchange.Answer) {
	if x.Answer(r.Now(), a) {
		r.Counts.Answered(a.Code)
	}
}

// failed turns an error into its answer.
func (r *Resources) failed(err error) exchange.Answer {
	code := codeOf(err)
	a := exchange.Answer{Code: code}
	switch code {
	case packet.ServiceUnavailable, packet.TooManyRequests:
		a.MaxAge = r.limits.RetryAfter
	case packet.TooLarge:
		a.Size1 = uint32(r.limits.UploadBytes)
	case packet.BadRequest:
		a.Payload = diagnostic(err)
	}
	return a
}

// maxDiagnostic bounds the text that says what is wrong with a payload, in bytes.
const maxDiagnostic = 128

// diagnostic is the diagnostic payload for err (RFC 7252 §5.5.2), which only an authenticated device gets.
func diagnostic(err error) []byte {
	if fault.KindOf(err) != fault.Invalid {
		return nil
	}
	text := err.Error()
	return []byte(text[:min(len(text), maxDiagnostic)])
}
