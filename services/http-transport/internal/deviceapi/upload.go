package deviceapi

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/transport"
)

var (
	errNoBody    = fault.New(fault.Invalid, "a request body is required")
	errLargeBody = fault.Wrap(fault.Limited, "request body", transport.ErrTooLarge)
	errNoRoom    = fault.New(fault.Unavailable, "no room on the bus")
)

// origin of every uplink: HTTP devices have no session, and speak JSON whatever their profile says.
var origin = transport.Origin{Transport: "HTTP", Format: transport.JSON}

// upload answers POST telemetry and attributes: 200 only once the bus has the uplink.
func (a *API) upload(w http.ResponseWriter, r *http.Request, token string, to route) {
	started := time.Now()
	d, err := a.platform.Authenticate(r.Context(), a.credentials(r, token))
	if err == nil {
		err = a.take(r, d, to)
	}
	a.metrics.seconds[to].Observe(time.Since(started).Seconds())
	if err != nil {
		a.fail(w, to, err)
		return
	}
	a.metrics.ok[to].Inc()
	w.WriteHeader(http.StatusOK)
}

// keptBody bounds the buffers that are kept for reuse.
const keptBody = 64 << 10

// take reads the body, publishes it and waits for the bus.
func (a *API) take(r *http.Request, d *transport.Device, to route) error {
	buffer := a.bodies.Get().(*[]byte)
	defer func() {
		if cap(*buffer) <= keptBody {
			a.bodies.Put(buffer)
		}
	}()
	var err error
	if *buffer, err = a.readBody(r, (*buffer)[:0], a.limits.BodyBytes); err != nil {
		if errors.Is(err, errLargeBody) {
			// A client that is still sending when its connection is closed may never see the answer.
			_, _ = io.CopyN(io.Discard, r.Body, int64(a.limits.BodyBytes))
		}
		return err
	}
	wait := a.waiters.Get().(*waiter)
	if err := a.publish(r, d, to, *buffer, wait.done); err != nil {
		a.waiters.Put(wait)
		return err
	}
	err = <-wait.result // the bus answers everything it took on, at its deadline at the latest
	a.waiters.Put(wait)
	return err
}

// readBody appends the whole body to into, unless it is larger than most.
func (a *API) readBody(r *http.Request, into []byte, most int) ([]byte, error) {
	if r.ContentLength > int64(most) {
		return into, errLargeBody
	}
	if r.ContentLength > 0 && int64(cap(into)) < r.ContentLength {
		into = make([]byte, 0, r.ContentLength)
	}
	for {
		if len(into) == cap(into) {
			if len(into) > 0 && int64(len(into)) == r.ContentLength {
				return into, nil
			}
			into = append(into, 0)[:len(into)]
		}
		n, err := r.Body.Read(into[len(into):cap(into)])
		into = into[:len(into)+n]
		switch {
		case len(into) > most:
			return into, errLargeBody
		case err == nil:
		case !errors.Is(err, io.EOF):
			return into, fault.Wrap(fault.Invalid, "read request body", err)
		case len(into) == 0:
			return into, errNoBody
		default:
			return into, nil
		}
	}
}

// publish hands the body over, waiting for room as long as a request may.
func (a *API) publish(r *http.Request, d *transport.Device, to route, body []byte, done func(error)) error {
	put := a.platform.PublishTelemetry
	if to == routeAttributes {
		put = a.platform.PublishAttributes
	}
	err := put(d, origin, body, done)
	if !errors.Is(err, bus.ErrFull) {
		return err
	}
	return a.untilRoom(r, d, func() error { return put(d, origin, body, done) })
}

// untilRoom tries again whenever there is room on the bus, as long as a request may wait.
func (a *API) untilRoom(r *http.Request, d *transport.Device, try func() error) error {
	err := error(bus.ErrFull)
	patience := time.NewTimer(a.limits.Patience)
	defer patience.Stop()
	for errors.Is(err, bus.ErrFull) {
		select {
		case <-a.platform.Room(d):
		case <-patience.C:
			return errNoRoom
		case <-r.Context().Done():
			return fault.Wrap(fault.Unavailable, "wait for room on the bus", r.Context().Err())
		}
		err = try()
	}
	return err
}

// waiter lets a request wait for the bus; it is reused.
type waiter struct {
	result chan error
	done   func(error)
}

func newWaiter() *waiter {
	w := &waiter{result: make(chan error, 1)}
	w.done = func(err error) { w.result <- err }
	return w
}
