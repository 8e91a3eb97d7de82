package transport

import (
	"errors"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
)

// Refusals that some protocols tell apart by a code of their own. Both are of fault.Limited.
var (
	// ErrTooLarge: the uplink is larger than the setting allows; sending it again is pointless.
	ErrTooLarge = fault.New(fault.Limited, "uplink is too large")
	// ErrRateLimited: the device or its tenant sends more than its rate; later it may pass.
	ErrRateLimited = fault.New(fault.Limited, "rate limit exceeded")
)

// errUnknown answers every wrong credential alike, so that guessing learns nothing.
var errUnknown = fault.New(fault.Unauthenticated, "credentials are not known")

var (
	errNoSession       = errors.New("no such session here")
	errUnknownDownlink = errors.New("a kind of downlink this version does not know")
)

// busFault gives an error of the bus the kind that devices are answered by. What a device may
// not learn of the platform's inside stays in the cause.
func busFault(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bus.ErrTooLarge):
		return ErrTooLarge
	default:
		return fault.Wrap(fault.Unavailable, doing, err)
	}
}
