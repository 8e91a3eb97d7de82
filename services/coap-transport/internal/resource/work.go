package resource

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/route"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/payload"
)

// work is one request on its way.
type work struct {
	r           *Resources
	x           *exchange.Exchange
	request     route.Request
	credentials transport.Credentials
	device      *transport.Device
	payload     []byte
}

// keep returns w with its own copy of what it needs of the datagram.
func (w *work) keep() *work {
	own := *w
	own.request.Token = nil
	own.request.ClientKeys = bytes.Clone(w.request.ClientKeys)
	own.request.SharedKeys = bytes.Clone(w.request.SharedKeys)
	own.payload = bytes.Clone(w.payload)
	return &own
}

func (w *work) answer(a exchange.Answer) { w.r.answer(w.x, a) }

// authenticate asks the core who the device is, then goes on with the request.
func (w *work) authenticate(ctx context.Context) {
	device, err := w.r.platform.Authenticate(ctx, w.credentials)
	if err != nil {
		w.answer(w.r.failed(waited(ctx, err)))
		return
	}
	if !mayUse(device) {
		w.answer(exchange.Answer{Code: packet.InternalServerError})
		return
	}
	w.device = device
	if w.request.Action == route.ReadAttributes {
		w.readAttributes(ctx)
		return
	}
	w.publishWhenRoom(ctx)
}

// publishWhenRoom publishes as soon as the device's queue takes it. Requests of one device that
// wait at the same time are not kept in order: devices that care wait for their answer, as
// NSTART = 1 asks of them (RFC 7252 §4.7).
func (w *work) publishWhenRoom(ctx context.Context) {
	for {
		room := w.r.platform.Room(w.device)
		if w.publish() {
			return
		}
		select {
		case <-room:
		case <-ctx.Done():
			w.answer(w.r.busy())
			return
		}
	}
}

// publish puts the uplink on the bus; false: the queue is full, nothing was answered.
func (w *work) publish() bool {
	publish := w.r.platform.PublishTelemetry
	if w.request.Action == route.PostAttributes {
		publish = w.r.platform.PublishAttributes
	}
	err := publish(w.device, origin, w.payload, w.done())
	if errors.Is(err, bus.ErrFull) {
		return false
	}
	if err != nil {
		w.answer(w.r.failed(err))
	}
	return true
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

func (w *work) readAttributes(ctx context.Context) {
	found, err := w.r.platform.ReadAttributes(ctx, w.device, w.query())
	if err != nil {
		w.answer(w.r.failed(waited(ctx, err)))
		return
	}
	if len(found.Client) == 0 && len(found.Shared) == 0 {
		w.answer(exchange.Answer{Code: packet.NotFound})
		return
	}
	body := payload.AppendAttributes(nil, found.Client, found.Shared)
	limit := w.r.limits.AnswerBytes
	if w.request.HasBlock2 {
		limit = min(limit, w.request.Block2.Size())
	}
	if len(body) > limit {
		w.answer(exchange.Answer{Code: packet.NotImplemented})
		return
	}
	w.answer(exchange.Answer{Code: packet.Content, HasFormat: true, ContentFormat: route.JSONFormat, Payload: body})
}

// query is what to read: the named keys, everything when none are named.
func (w *work) query() transport.AttributeQuery {
	if !w.request.HasClientKeys && !w.request.HasSharedKeys {
		return transport.AttributeQuery{AllClient: true, AllShared: true}
	}
	return transport.AttributeQuery{ClientKeys: split(w.request.ClientKeys), SharedKeys: split(w.request.SharedKeys)}
}

func split(keys []byte) []string {
	if len(keys) == 0 {
		return nil
	}
	return strings.Split(string(keys), ",")
}
