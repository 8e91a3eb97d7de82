package resource

import (
	"bytes"
	"context"
	"errors"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/block"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/form"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/reach"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/route"
	"github.com/sluice-iot/sluice/transport"
)

// work is one request on its way.
type work struct {
	r           *Resources
	x           *exchange.Exchange
	request     route.Request
	credentials transport.Credentials
	held        bool // credentials are those of the connection, not of the path
	device      *transport.Device
	payload     []byte
	whole       bool // payload is all there is: the last block of an upload was taken
	size        int  // of the request
	confirmable bool
}

// keep returns w with its own copy of what it needs of the datagram.
func (w *work) keep() *work {
	own := *w
	own.request.Keep()
	own.payload = bytes.Clone(w.payload)
	return &own
}

// identify finds the credentials: those that the connection proved, else those of the path.
func (w *work) identify() {
	if from := w.x.Endpoint(); from.Session != 0 {
		w.credentials, w.held = w.r.Holder(from)
	}
	if !w.held {
		w.credentials = transport.Credentials{Token: string(w.request.Token)}
	}
	if from := w.x.Endpoint(); from.Session != 0 {
		w.credentials.From = from.Peer.Addr() // without DTLS anybody could spend the rate of another's address
	}
}

// other turns to the token in the path when the connection's certificate is nobody's (device-api §4.3); false: there is none.
func (w *work) other() bool {
	if !w.held || w.credentials.Certificates == "" || len(w.request.Token) == 0 {
		return false
	}
	w.credentials, w.held = transport.Credentials{Token: string(w.request.Token), From: w.credentials.From}, false
	return true
}

// waits reports whether answering w has to wait for others, whoever the device is.
func (w *work) waits() bool {
	switch w.request.Action {
	case route.PostTelemetry, route.PostAttributes, route.ReplyRPC, route.Claim:
		return false
	}
	return true
}

// answer sends a; a longer one than its request only to a peer that is where it says, or so that it has to show it.
func (w *work) answer(a exchange.Answer) {
	if w.request.HasBlock1 && a.Code.Class() == 2 {
		a.HasBlock1, a.Block1 = true, w.request.Block1.Value()
	}
	switch size := packet.HeaderSize + packet.MaxTokenSize + len(a.Append(nil)); w.r.Peers.Judge(w.x.Endpoint(), w.size, size) {
	case reach.Prove:
		a.Separate = true
	case reach.Refuse:
		a = exchange.Answer{Code: packet.Unauthorized, Echo: w.r.Peers.Echo(w.x.Endpoint()), Remember: a.Remember}
	}
	w.r.answer(w.x, a)
}

// authenticate asks the core who the device is, then goes on with the request.
func (w *work) authenticate(ctx context.Context) {
	device, err := w.r.Platform.Authenticate(ctx, w.credentials)
	if err != nil && fault.KindOf(err) == fault.Unauthenticated && w.other() {
		device, err = w.r.Platform.Authenticate(ctx, w.credentials)
	}
	if err != nil {
		w.answer(w.r.failed(waited(ctx, err)))
		return
	}
	w.device = device
	if w.admit() {
		w.serve(ctx)
	}
}

// admit checks what the device may, and that its payload is whole; false: w is answered.
func (w *work) admit() bool {
	if !mayUse(w.device) {
		w.answer(exchange.Answer{Code: packet.InternalServerError})
		return false
	}
	w.r.Relations.Uplink(w.device.ID, w.x.Endpoint())
	if len(w.request.Echo) > 0 {
		w.r.Peers.Accept(w.x.Endpoint(), w.request.Echo)
	}
	if w.request.HasAccept && w.waits() && w.request.Accept != w.format() {
		w.answer(exchange.Answer{Code: packet.NotAcceptable})
		return false
	}
	return w.assemble()
}

// format is that of the answer's payload (device-api §4.1): protobuf if the profile says so, else the request's own, else JSON.
func (w *work) format() uint32 {
	switch {
	case w.request.IsPackage(), form.Protobuf(w.device):
		return route.BinaryFormat
	case w.request.HasFormat && !w.request.HasAccept:
		return w.request.Format
	}
	return route.JSONFormat
}

// assemble has the payload wait for those of the other blocks of its upload; false: w is answered.
func (w *work) assemble() bool {
	b := w.request.Block1
	if !w.request.HasBlock1 || w.whole || b.Number == 0 && !b.More {
		return true
	}
	body, progress := w.r.Uploads.Add(block.Upload{From: w.x.Endpoint(), Digest: w.uploadDigest()}, b, w.payload)
	switch progress {
	case block.Complete:
		w.payload, w.whole = body, true
		return true
	case block.Continue:
		w.answer(exchange.Answer{Code: packet.Continue, Remember: true})
	case block.Gap:
		w.answer(exchange.Answer{Code: packet.Incomplete})
	case block.TooLarge:
		w.answer(w.r.tooLarge())
	case block.Full:
		w.answer(w.r.busy())
	}
	return false
}

// serve does what w asks for; it may wait.
func (w *work) serve(ctx context.Context) {
	switch w.request.Action {
	case route.ReadAttributes:
		w.readAttributes(ctx)
	case route.ObserveAttributes, route.ObserveRPC:
		w.observe(ctx)
	case route.CallRPC:
		w.call(ctx)
	case route.ReadFirmware, route.ReadSoftware:
		w.readPackage(ctx)
	default:
		w.submitWhenRoom(ctx)
	}
}

// submitWhenRoom submits as soon as the device's queue takes it. Requests of one device that
// wait at the same time are not kept in order: devices that care wait for their answer, as
// NSTART = 1 asks of them (RFC 7252 §4.7).
func (w *work) submitWhenRoom(ctx context.Context) {
	w.whenRoom(ctx, func() error { return w.hand(w.done()) })
}

// whenRoom calls hand until it is not for lack of room that it fails, or ctx ends; false: it failed, and w is answered.
func (w *work) whenRoom(ctx context.Context, hand func() error) bool {
	for {
		room := w.r.Platform.Room(w.device)
		err := hand()
		if err == nil {
			return true
		}
		if !errors.Is(err, bus.ErrFull) {
			w.answer(w.r.failed(err))
			return false
		}
		select {
		case <-room:
		case <-ctx.Done():
			w.answer(w.r.busy())
			return false
		}
	}
}

// submit hands the payload to the platform; false: there is no room, nothing was answered.
func (w *work) submit() bool {
	err := w.hand(w.done())
	if errors.Is(err, bus.ErrFull) {
		return false
	}
	if err != nil {
		w.answer(w.r.failed(err))
	}
	return true
}

// hand gives the payload to whom it is for.
func (w *work) hand(done func(error)) error {
	p := w.r.Platform
	switch w.request.Action {
	case route.PostAttributes:
		return p.PublishAttributes(w.device, origin, w.payload, done)
	case route.ReplyRPC:
		if err := form.CheckReply(w.device, w.payload); err != nil {
			return err
		}
		return p.ReplyRPC(w.device, w.request.ID, origin, w.payload, done)
	case route.Claim:
		return p.Claim(w.device, origin, w.payload, done)
	}
	return p.PublishTelemetry(w.device, origin, w.payload, done)
}

// done answers when the bus has decided. Either answer is remembered: the uplink may be on the
// bus even if its acknowledgement failed, and a retransmission must not put it there again.
func (w *work) done() func(error) {
	r, x := w.r, w.x // not w, which holds on to the datagram
	created := exchange.Answer{Code: packet.Created, HasBlock1: w.request.HasBlock1, Block1: w.request.Block1.Value()}
	return func(err error) {
		a := created
		if err != nil {
			a = r.failed(err)
		}
		a.Remember = true
		r.answer(x, a)
	}
}
