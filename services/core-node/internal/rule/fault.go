package rule

import (
	"errors"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// PlatformFault reports whether err is the platform's: some part of it is away, and the same will
// work later. Every other error is the message's own.
func PlatformFault(err error) bool {
	for _, away := range [...]error{storage.ErrUnavailable, bus.ErrUnavailable, bus.ErrDeadline, bus.ErrFull, bus.ErrClosed, bus.ErrBudget} {
		if errors.Is(err, away) {
			return true
		}
	}
	return fault.KindOf(err) == fault.Unavailable
}
