package load

import (
	"context"
	"time"
)

// Asking is a person, or a program of one, who makes one request after the other over one HTTP/1.1 connection. It is for one
// goroutine.
type Asking struct{ httpConn }

// Ask connects somebody who asks. Close it.
func Ask(ctx context.Context, address string) (*Asking, error) {
	o := Options{Address: address, Clients: 1, Duration: time.Hour}
	if err := o.check(); err != nil {
		return nil, err
	}
	a := &Asking{}
	return a, a.dial(ctx, address)
}

// Exchange sends a whole request, head and body, and waits for the response. The body is good until the next.
func (a *Asking) Exchange(request []byte) (status int, body []byte, err error) {
	return a.exchange(request)
}

// Close ends the connection.
func (a *Asking) Close() { a.close() }
