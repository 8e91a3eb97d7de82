package deviceapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/transport"
)

// request is one request of a device that is no upload.
type request struct {
	a     *API
	w     http.ResponseWriter
	r     *http.Request
	route route
}

// serve answers requests of a kind: handle returns the error that is to be answered, or nil once it has answered itself.
func (a *API) serve(at route, handle func(q *request, token string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		err := handle(&request{a, w, r, at}, chi.URLParam(r, "token"))
		a.metrics.seconds[at].Observe(time.Since(started).Seconds())
		switch {
		case err == nil:
			a.metrics.ok[at].Inc()
		case r.Context().Err() != nil:
			a.metrics.refused(at, statusGone)
		default:
			a.fail(w, at, err)
		}
	}
}

// statusGone is how a request is counted whose client did not wait for the answer.
const statusGone = 499

func (q *request) authenticate(token string) (*transport.Device, error) {
	return q.a.platform.Authenticate(q.r.Context(), q.a.credentials(q.r, token))
}

// body reads the request's body; none is errNoBody.
func (q *request) body(most int) ([]byte, error) {
	body, err := q.a.readBody(q.r, nil, most)
	if errors.Is(err, errLargeBody) {
		// A client that is still sending when its connection is closed may never see the answer.
		_, _ = io.CopyN(io.Discard, q.r.Body, int64(most))
	}
	return body, err
}

// deliver hands something over by put, waiting for room as long as a request may, and then for the bus to have it.
func (q *request) deliver(d *transport.Device, put func(done func(error)) error) error {
	wait := newWaiter()
	err := put(wait.done)
	if errors.Is(err, bus.ErrFull) {
		err = q.a.untilRoom(q.r, d, func() error { return put(wait.done) })
	}
	if err != nil {
		return err
	}
	return <-wait.result // the bus answers everything it took on, at its deadline at the latest
}

// mayTake lets the request last that long, whatever times the server has for others.
func (q *request) mayTake(long time.Duration) {
	until := time.Now().Add(long + deadlineSlack)
	control := http.NewResponseController(q.w)
	// Servers that cannot have their own times.
	_ = control.SetReadDeadline(until)
	_ = control.SetWriteDeadline(until)
}

// deadlineSlack is what it takes to send an answer after a wait.
const deadlineSlack = 10 * time.Second

// integer reads a query parameter, 0 when there is none.
func (q *request) integer(name string) (int64, error) {
	text := q.r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fault.New(fault.Invalid, name+" must be a number from 0")
	}
	return n, nil
}

// json answers with JSON.
func (q *request) json(text []byte) error {
	q.w.Header().Set("Content-Type", "application/json")
	// An error means that nobody reads the answer any more.
	_, _ = q.w.Write(text)
	return nil
}

// waiting returns a context for a wait, which ends when the client goes, the service stops or the time is over.
func (q *request) waiting(long time.Duration) (context.Context, context.CancelFunc) {
	q.mayTake(long)
	ctx, cancel := context.WithTimeout(q.r.Context(), long)
	leave := context.AfterFunc(q.a.stopping, cancel)
	return ctx, func() {
		leave()
		cancel()
	}
}
