package resource

import (
	"context"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/form"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/route"
)

// call hands the device's own request to its rule chain and answers with what that says; after Patience 5.04.
func (w *work) call(ctx context.Context) {
	if w.request.HasBlock2 && w.request.Block2.Number > 0 {
		w.rest()
		return
	}
	failed, answered := make(chan error, 1), make(chan string, 1)
	if !w.whenRoom(ctx, func() error { return w.ask(ctx, failed, answered) }) {
		return
	}
	select {
	case err := <-failed:
		a := w.r.failed(err)
		a.Remember = true
		w.answer(a)
	case payload := <-answered:
		w.send(exchange.Answer{Code: packet.Content, Remember: true}, form.Answer(w.device, payload), w.digest())
	case <-ctx.Done():
		w.answer(exchange.Answer{Code: packet.GatewayTimeout, Remember: true})
	}
}

func (w *work) ask(ctx context.Context, failed chan<- error, answered chan<- string) error {
	return w.r.Platform.CallRPC(ctx, w.device, 0, origin, w.payload, func(err error) {
		if err != nil {
			failed <- err
		}
	}, func(payload string) { answered <- payload })
}

// provision makes credentials for a device that has none.
func (w *work) provision(ctx context.Context) {
	answer, granted, err := w.r.Platform.Provision(ctx, w.payload, true, w.x.Endpoint().Peer.Addr())
	if err != nil {
		a := w.r.failed(waited(ctx, err))
		a.Payload = nil // the sender may be anyone
		w.answer(a)
		return
	}
	a := exchange.Answer{Code: packet.BadRequest, Payload: answer, HasFormat: true, ContentFormat: route.JSONFormat, Remember: true}
	if granted {
		a.Code = packet.Created
	}
	if len(answer) > 0 && answer[0] != '{' {
		a.ContentFormat = route.BinaryFormat
	}
	w.answer(a)
}
