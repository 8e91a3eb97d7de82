package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// The error codes of rest-api §1.6.
const (
	codeGeneral        = 2
	codeAuthentication = 10
	codeTokenExpired   = 11
	codeDenied         = 20
	codeBadRequest     = 31
	codeNotFound       = 32
	codeTooMany        = 33
	codeVersion        = 35
	codeLimit          = 41
)

// errorBody is the body of every error but the plain ones (rest-api §1.6).
type errorBody struct {
	Status    int    `json:"status"`
	Message   string `json:"message"`
	ErrorCode int    `json:"errorCode"`
	Timestamp int64  `json:"timestamp"`
	// Of a limit of entities that is reached.
	EntityType string `json:"entityType,omitempty"`
	Limit      int64  `json:"limit,omitempty"`
}

// plain marks the error of a route that answers bad requests with bare text (rest-api §1.6).
type plain struct{ error }

func (p plain) Unwrap() error { return p.error }

// plainly marks err, when there is one.
func plainly(answer any, err error) (any, error) {
	if err != nil {
		return nil, plain{err}
	}
	return answer, nil
}

// empty is the error of a route that answers some failures with a status and nothing else.
type empty int

func (e empty) Error() string { return http.StatusText(int(e)) }

// retryAfter is how many seconds a client should wait for a part that is away.
const retryAfter = "1"

// fail writes err as its kind asks and returns the status.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) int {
	if r.Context().Err() == context.Canceled {
		// The client has gone, or net/http believes so because its request did not come in time. It may still
		// be there: without an answer of ours it would read one of success.
		a.writeError(w, http.StatusBadRequest, codeBadRequest, "Request was not read to its end")
		return statusGone
	}
	var nothing empty
	if errors.As(err, &nothing) {
		w.WriteHeader(int(nothing))
		return int(nothing)
	}
	status, code, message := describe(err)
	switch status {
	case http.StatusInternalServerError:
		a.Log.Error("serve request", "method", r.Method, "path", r.URL.Path, "err", err)
	case http.StatusServiceUnavailable:
		a.Log.Debug("serve request", "method", r.Method, "path", r.URL.Path, "err", err)
		w.Header().Set("Retry-After", retryAfter)
	}
	var bare plain
	if errors.As(err, &bare) && (status == http.StatusBadRequest || status == http.StatusForbidden || status == http.StatusNotFound) {
		w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
		a.send(w, status, []byte(message))
		return status
	}
	body := errorBody{Status: status, Message: message, ErrorCode: code}
	var limit *entity.LimitError
	if errors.As(err, &limit) {
		body.EntityType, body.Limit = limit.Kind.String(), limit.Limit
	}
	a.writeErrorBody(w, body)
	return status
}

// statusGone is what requests count as whose client did not wait for the answer.
const statusGone = 499

// describe is the one table from errors to answers.
func describe(err error) (status, code int, message string) {
	var large *http.MaxBytesError
	var limit *entity.LimitError
	switch {
	case errors.As(err, &limit):
		return http.StatusForbidden, codeLimit, said(err)
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, codeBadRequest, "Request body is too large"
	case errors.Is(err, errContentType):
		return http.StatusUnsupportedMediaType, codeBadRequest, said(err)
	case errors.Is(err, auth.ErrExpired):
		return http.StatusUnauthorized, codeTokenExpired, said(err)
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest, codeBadRequest, said(err)
	case fault.Unauthenticated:
		return http.StatusUnauthorized, codeAuthentication, said(err)
	case fault.Denied:
		return http.StatusForbidden, codeDenied, said(err)
	case fault.NotFound:
		return http.StatusNotFound, codeNotFound, said(err)
	case fault.Conflict:
		return http.StatusConflict, codeVersion, said(err)
	case fault.Limited:
		return http.StatusTooManyRequests, codeTooMany, said(err)
	case fault.Unavailable:
		return http.StatusServiceUnavailable, codeGeneral, "Service is unavailable, try again"
	}
	return describeBare(err)
}

// describeBare answers errors nobody gave a kind.
func describeBare(err error) (status, code int, message string) {
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return http.StatusNotFound, codeNotFound, "Requested item wasn't found!"
	case errors.Is(err, storage.ErrInvalid):
		return http.StatusBadRequest, codeBadRequest, "The store refuses these values"
	}
	for _, away := range []error{
		storage.ErrUnavailable, context.DeadlineExceeded, bus.ErrUnavailable, bus.ErrFull, bus.ErrDeadline, bus.ErrClosed, bus.ErrBudget,
	} {
		if errors.Is(err, away) {
			return http.StatusServiceUnavailable, codeGeneral, "Service is unavailable, try again"
		}
	}
	return http.StatusInternalServerError, codeGeneral, "Internal server error"
}

// said returns what of err is meant for people: the message of its fault, without the cause.
func said(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Message
	}
	return "Request failed"
}

func (a *api) writeError(w http.ResponseWriter, status, code int, message string) {
	a.writeErrorBody(w, errorBody{Status: status, Message: message, ErrorCode: code})
}

func (a *api) writeErrorBody(w http.ResponseWriter, of errorBody) {
	of.Timestamp = a.Now().UnixMilli()
	body, err := json.Marshal(of)
	if err != nil {
		a.Log.Error("encode an error", "err", err)
		body = nil
	}
	w.Header().Set("Content-Type", "application/json")
	a.send(w, of.Status, body)
}
