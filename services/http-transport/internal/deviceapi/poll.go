package deviceapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/payload"
)

// How long a poll waits when it does not say, and at most.
const (
	usualPoll   = time.Minute
	longestPoll = 5 * time.Minute
)

var (
	errExpired   = errors.New("nothing came in time")
	errManyPolls = fault.New(fault.Unavailable, "too many polls wait")
	errStopping  = fault.New(fault.Unavailable, "the service stops")
)

// pollAttributes answers GET attributes/updates with the next change of shared attributes.
func (q *request) pollAttributes(token string) error {
	return q.poll(token, func(ctx context.Context, d *transport.Device) ([]byte, error) {
		updated, deleted, err := q.a.platform.PollAttributes(ctx, d)
		return appendUpdate(nil, updated, deleted), err
	})
}

// pollRPC answers GET rpc with a request that waits for the device, or the next.
func (q *request) pollRPC(token string) error {
	return q.poll(token, func(ctx context.Context, d *transport.Device) ([]byte, error) {
		r, err := q.a.platform.PollRPC(ctx, d)
		return appendRequest(nil, r), err
	})
}

func (q *request) poll(token string, wait func(context.Context, *transport.Device) ([]byte, error)) error {
	ms, err := q.integer("timeout")
	if err != nil {
		return err
	}
	long := usualPoll
	if ms > 0 {
		long = time.Duration(min(ms, longestPoll.Milliseconds())) * time.Millisecond
	}
	d, err := q.authenticate(token)
	if err != nil {
		return err
	}
	if parked := q.a.parked.Add(1); parked > int64(q.a.limits.Polls) {
		q.a.parked.Add(-1)
		return errManyPolls
	}
	q.a.metrics.parked.Inc()
	defer func() {
		q.a.parked.Add(-1)
		q.a.metrics.parked.Dec()
	}()
	ctx, cancel := q.waiting(long)
	defer cancel()
	answer, err := wait(ctx, d)
	switch {
	case err == nil:
		return q.json(answer)
	case q.a.stopping.Err() != nil:
		return errStopping
	case errors.Is(err, context.DeadlineExceeded):
		return errExpired
	default:
		return err
	}
}

// appendUpdate appends a change: {"k":v}, {"deleted":["k"]}, or both in one.
func appendUpdate(dst []byte, updated []telemetry.KeyValue, deleted []string) []byte {
	switch {
	case len(deleted) == 0:
		return payload.AppendValues(dst, updated)
	case len(updated) == 0:
		return payload.AppendDeleted(dst, deleted)
	}
	dst = payload.AppendValues(dst, updated)
	dst[len(dst)-1] = ','
	return append(dst, payload.AppendDeleted(nil, deleted)[1:]...)
}

// appendRequest appends {"id":5,"method":"m","params":{}}.
func appendRequest(dst []byte, r transport.RPCRequest) []byte {
	dst = strconv.AppendInt(append(dst, `{"id":`...), int64(r.ID), 10)
	dst = payload.AppendText(append(dst, `,"method":`...), r.Method)
	params := r.Params
	if params == "" {
		params = "null"
	}
	return append(append(append(dst, `,"params":`...), params...), '}')
}

// gone answers a device that was deleted while it waited.
func (a *API) gone(w http.ResponseWriter, at route) {
	a.metrics.refused(at, http.StatusForbidden)
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write([]byte("Device was deleted!"))
}

// Parked returns how many polls wait.
func (a *API) Parked() int { return int(a.parked.Load()) }
