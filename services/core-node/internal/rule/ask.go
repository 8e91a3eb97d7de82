package rule

import (
	"context"

	"github.com/sluice-iot/sluice/proto/ident"
)

// Request is what a node asks of a device.
type Request struct {
	ID                 ident.ID // asked twice, it is sent once
	Method, Params     string   // params is JSON text
	OneWay, Persistent bool
	Expires            int64  // ms
	Retries            int    // of a persistent one; -1: the setting's
	AdditionalInfo     string // JSON text, or ""
}

// Answer is what a device's own request is answered with.
type Answer struct {
	Node    string // of the transport that has the session
	Session ident.ID
	Request int32
	Payload string // JSON text
}

// Asking is a request on its way out of a rule chain.
type Asking struct {
	Request Request
	Message *Message
	// Position is where the message goes on, along the relation to be filled in; nil: nowhere, so that nobody waits.
	Position   *Position
	Executions int
	Queue      string
}

// Reply is a device's answer to a node's request.
type Reply struct {
	Body   string
	Failed error // instead
}

// ask has b's node ask its message's originator. Whoever is asked keeps what goes on later; what is known at once goes on now.
func (e *Engine) ask(ctx context.Context, b branch, out Emission) {
	a := Asking{Request: *out.request, Message: out.Message, Executions: int(b.executions), Queue: b.flight.Message.Queue}
	if s := b.step(); len(s.follow(Success))+len(s.follow(Failure)) > 0 {
		a.Position = b.position("")
		a.Message = b.flight.named(out.Message, a.Position)
	}
	reply, err := e.o.Ask(ctx, a)
	switch {
	case err != nil:
		e.follow(ctx, b, Emission{Relation: Failure, Message: out.Message, Err: err})
	case reply != nil && reply.Failed != nil:
		e.follow(ctx, b, Emission{Relation: Failure, Message: answered(out.Message, reply.Body), Err: reply.Failed})
	case reply != nil:
		e.follow(ctx, b, Emission{Relation: Success, Message: answered(out.Message, reply.Body)})
	}
}

func answered(m *Message, body string) *Message {
	other := *m
	other.Body = TextBody(body)
	return &other
}
