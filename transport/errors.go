package transport

import (
	"errors"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
)

// Refusals that some protocols tell apart by a code of their own.
var (
	// ErrTooLarge: the uplink is larger than the setting allows; sending it again is pointless.
	ErrTooLarge = fault.New(fault.Limited, "uplink is too large")
	// ErrRateLimited: the device or its tenant sends more than its rate; later it may pass.
	ErrRateLimited = fault.New(fault.Limited, "rate limit exceeded")
	// ErrTooManyWrong: the address sent too many wrong credentials, and these are not known to be right; later.
	ErrTooManyWrong = fault.New(fault.Limited, "too many wrong credentials from this address")
	// ErrTooManyDevices: the tenant may have no more devices, and this one is new.
	ErrTooManyDevices = fault.New(fault.Limited, "the tenant has as many devices as it may have")
	// ErrDeviceDeleted: the device was deleted while it waited.
	ErrDeviceDeleted = fault.New(fault.NotFound, "the device was deleted")
)

// errUnknown answers every wrong credential alike, so that guessing learns nothing.
var errUnknown = fault.New(fault.Unauthenticated, "credentials are not known")

var (
	errNoSession       = errors.New("no such session here")
	errNoCall          = errors.New("nobody waits for this answer")
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
	case fault.KindOf(err) == fault.Unavailable:
		return err
	default:
		return fault.Wrap(fault.Unavailable, doing, err)
	}
}
