package deviceapi

import (
	"errors"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/sluice-iot/sluice/proto/fault"
)

var errRequestID = fault.New(fault.Invalid, "the request's id must be a number of 32 bits")

// reply answers POST rpc/{requestId}: what the device answers to a request.
func (q *request) reply(token string) error {
	id, err := strconv.ParseInt(chi.URLParam(q.r, "request"), 10, 32)
	if err != nil {
		return errRequestID
	}
	d, err := q.authenticate(token)
	if err != nil {
		return err
	}
	body, err := q.body(q.a.limits.RPCBytes)
	if err != nil {
		return err
	}
	return q.deliver(d, func(done func(error)) error { return q.a.platform.ReplyRPC(d, int32(id), origin, body, done) })
}

// call answers POST rpc, a device's own request, with what its rule chain answers.
func (q *request) call(token string) error {
	d, err := q.authenticate(token)
	if err != nil {
		return err
	}
	body, err := q.body(q.a.limits.RPCBytes)
	if err != nil {
		return err
	}
	ctx, cancel := q.waiting(longestPoll)
	defer cancel()
	answer := make(chan string, 1)
	err = q.deliver(d, func(done func(error)) error {
		return q.a.platform.CallRPC(ctx, d, 0, origin, body, done, func(payload string) { answer <- payload })
	})
	if err != nil {
		return err
	}
	select {
	case text := <-answer:
		return q.json([]byte(text))
	case <-ctx.Done():
		if q.a.stopping.Err() != nil {
			return errStopping
		}
		return errExpired
	}
}

// claim answers POST claim; the body may be missing.
func (q *request) claim(token string) error {
	d, err := q.authenticate(token)
	if err != nil {
		return err
	}
	body, err := q.body(q.a.limits.RPCBytes)
	if err != nil && !errors.Is(err, errNoBody) {
		return err
	}
	return q.deliver(d, func(done func(error)) error { return q.a.platform.Claim(d, origin, body, done) })
}

// provision answers POST provision: 200 whether there are credentials or not, as the body says.
func (q *request) provision(string) error {
	body, err := q.body(q.a.limits.RPCBytes)
	if err != nil {
		return err
	}
	answer, _, err := q.a.platform.Provision(q.r.Context(), body, false, q.a.client(q.r))
	if err != nil {
		return err
	}
	return q.json(answer)
}
