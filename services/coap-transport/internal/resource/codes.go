package resource

import (
	"context"
	"errors"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
)

// codes says how each kind of fault is answered.
var codes = map[fault.Kind]packet.Code{
	fault.Invalid:         packet.BadRequest,
	fault.Unauthenticated: packet.Unauthorized,
	fault.Denied:          packet.InternalServerError, // as the reference platform does
	fault.NotFound:        packet.NotFound,
	fault.Conflict:        packet.BadRequest,
	fault.Limited:         packet.TooManyRequests,
	fault.Unavailable:     packet.ServiceUnavailable,
	fault.Internal:        packet.InternalServerError,
}

// codeOf is the code that answers err. Some errors are told apart within their kind: an uplink
// that is too large, a call that was not answered. The bus's own errors have no kind: they are
// its unavailability.
func codeOf(err error) packet.Code {
	switch {
	case errors.Is(err, transport.ErrTooLarge), errors.Is(err, bus.ErrTooLarge):
		return packet.TooLarge
	case errors.Is(err, bus.ErrBudget):
		return packet.GatewayTimeout
	case errors.Is(err, bus.ErrFull), errors.Is(err, bus.ErrDeadline), errors.Is(err, bus.ErrUnavailable), errors.Is(err, bus.ErrClosed):
		return packet.ServiceUnavailable
	}
	return codes[fault.KindOf(err)]
}

// waited gives an error that came because ctx ended the kind of a platform that is away.
func waited(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return fault.Wrap(fault.Unavailable, "wait for the core", err)
	}
	return err
}
