package deviceapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/transport"
)

// status picks the code for an error.
func status(err error) int {
	if errors.Is(err, transport.ErrTooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	switch {
	case errors.Is(err, errExpired):
		return http.StatusRequestTimeout
	case errors.Is(err, errOther):
		return http.StatusBadRequest
	case errors.Is(err, errElsewhere):
		return http.StatusNotFound
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Denied:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Limited:
		return http.StatusTooManyRequests
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// errorCode is the number the platform's clients know beside a status.
func errorCode(status int) int {
	switch status {
	case http.StatusForbidden:
		return 20
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return 31
	case http.StatusNotFound:
		return 32
	case http.StatusTooManyRequests:
		return 33
	default:
		return 2
	}
}

// fail answers with err's status. What went wrong inside is not the device's to know.
func (a *API) fail(w http.ResponseWriter, at route, err error) {
	code := status(err)
	switch {
	case errors.Is(err, transport.ErrDeviceDeleted):
		a.gone(w, at)
		return
	case errors.Is(err, errExpired), errors.Is(err, errOther), errors.Is(err, errElsewhere):
		a.metrics.refused(at, code)
		w.WriteHeader(code)
		return
	}
	switch code {
	case http.StatusUnauthorized:
		a.metrics.refused(at, code)
		w.WriteHeader(code)
	case http.StatusBadRequest:
		a.refuse(w, at, code, err.Error())
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(int(a.limits.RetryAfter/time.Second)))
		a.refuse(w, at, code, http.StatusText(code))
	default:
		a.refuse(w, at, code, http.StatusText(code))
	}
}

// refusal is the platform's error body.
type refusal struct {
	Status    int    `json:"status"`
	Message   string `json:"message"`
	ErrorCode int    `json:"errorCode"`
	Timestamp int64  `json:"timestamp"` // ms since the epoch
}

func (a *API) refuse(w http.ResponseWriter, at route, code int, message string) {
	a.metrics.refused(at, code)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// An error means that nobody reads the answer any more.
	_ = json.NewEncoder(w).Encode(refusal{code, message, errorCode(code), time.Now().UnixMilli()})
}
