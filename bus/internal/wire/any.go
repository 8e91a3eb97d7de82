package wire

import (
	"context"
	"errors"
	"time"
)

// stagger is how long a broker may take to answer before the next one is tried beside it: a stopped machine accepts
// connections and says nothing.
const stagger = 250 * time.Millisecond

// Any connects to a broker, whichever answers first: the one that answered last, those of the list, those learned of.
func (d *Dialer) Any(ctx context.Context) (*Conn, error) {
	addresses := d.candidates()
	if len(addresses) == 0 {
		return nil, errors.New("no broker is configured")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type attempt struct {
		conn    *Conn
		address string
		err     error
	}
	attempts := make(chan attempt)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var (
		failures      error
		won           *Conn
		started, open int
	)
	for open > 0 || (won == nil && started < len(addresses)) {
		select {
		case <-timer.C:
			if won != nil || started == len(addresses) {
				continue
			}
			address := addresses[started]
			started++
			open++
			timer.Reset(stagger)
			go func() {
				c, err := d.Connect(ctx, address)
				attempts <- attempt{c, address, err}
			}()
		case a := <-attempts:
			open--
			switch {
			case a.err != nil:
				failures = errors.Join(failures, a.err)
				timer.Reset(0)
			case won == nil:
				won = a.conn
				d.trust(a.address)
				cancel()
			default:
				failures = errors.Join(failures, a.conn.Close())
			}
		}
	}
	if won != nil {
		return won, nil
	}
	return nil, failures
}

// trust makes the next question start at address.
func (d *Dialer) trust(address string) {
	d.layout.mu.Lock()
	defer d.layout.mu.Unlock()
	d.layout.good = address
}
