package system

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/tests/system/ledger"
)

// Firmware is a device that must not lose a reading: what is not acknowledged it sends again,
// the same number with the same time, before anything newer.
type Firmware struct {
	Token   string
	Account *ledger.Device
	Pause   time.Duration // between readings
	link    link
	pending []int // sent or about to be, oldest first, not acknowledged
}

// link is one protocol's way to hand readings over.
type link interface {
	// exchange sends the readings in order and returns how many of them, from the first, were acknowledged;
	// the error says why not all. It dials when it has to.
	exchange(ctx context.Context, readings [][]byte) (int, error)
	close()
}

// payload is reading n as the device sends it.
func (f *Firmware) payload(n int) []byte {
	if f.Account.OwnTime {
		return fmt.Appendf(nil, `{"ts":%d,"values":{"n":%d,"temperature":21.5}}`, ledger.TimeOf(n), n)
	}
	return fmt.Appendf(nil, `{"n":%d,"temperature":21.5}`, n)
}

// Run sends until stop is closed, then until everything is acknowledged; ctx ends it at once.
func (f *Firmware) Run(ctx context.Context, stop <-chan struct{}, window int) error {
	defer f.link.close()
	for {
		select {
		case <-stop:
			if len(f.pending) == 0 {
				return nil
			}
		default:
			for len(f.pending) < window {
				f.pending = append(f.pending, f.Account.Next())
			}
		}
		wait := f.Pause
		if err := f.once(ctx); err != nil {
			wait = 50 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d readings of %s still unacknowledged: %w", len(f.pending), f.Account.Name, ctx.Err())
		case <-time.After(wait):
		}
	}
}

func (f *Firmware) once(ctx context.Context) error {
	readings := make([][]byte, len(f.pending))
	for i, n := range f.pending {
		f.Account.Sending(n)
		readings[i] = f.payload(n)
	}
	acked, err := f.link.exchange(ctx, readings)
	for _, n := range f.pending[:acked] {
		f.Account.Acknowledged(n)
	}
	f.pending = f.pending[acked:]
	return err
}
