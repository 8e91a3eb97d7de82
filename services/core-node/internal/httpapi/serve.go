package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// handler answers a request of p (zero on open routes): with a value to be shown as JSON, text, raw
// JSON, a redirect, a file, or nil for an empty body.
type handler func(r *http.Request, p auth.Principal) (any, error)

type (
	text string // text/plain
	raw  []byte // JSON already
	// refused is an answer of JSON that is no error body (400).
	refused struct{ body any }
	// redirect is where a browser is to go on (303).
	redirect string
)

// door is what every request passes: who asks, may they call this at all, how long may it take.
func (a *api) door(one route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		most, within := a.bounds(one)
		ctx, cancel := context.WithTimeout(r.Context(), within)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, most)
		defer a.hurry(w, start, within)()
		status := http.StatusOK
		if answer, err := a.enter(one, r); err != nil {
			status = a.fail(w, r, err)
		} else {
			status = a.answer(w, r, answer)
		}
		a.metrics.count(one.method+" "+one.path, status)
		a.metrics.took(start)
	}
}

// bounds is how large a request of a route may be, and how long it may take.
func (a *api) bounds(one route) (body int64, within time.Duration) {
	switch {
	case carriesPackage(one):
		settings := a.Packages.Settings()
		return settings.MaxBytes + a.Settings.MaxBody, settings.UploadTimeout
	case one.method == http.MethodPost && (strings.HasPrefix(one.path, rpcPrefix) || strings.HasPrefix(one.path, rpcPrefixV1)):
		return a.Settings.MaxBody, a.RPC.LongestWait + a.Settings.Timeout // a device is waited for
	}
	return a.Settings.MaxBody, a.Settings.Timeout
}

// hurry bounds how long a client may take to send its request and to read the answer. The
// function it returns frees the connection, which may carry other handlers' requests next.
func (a *api) hurry(w http.ResponseWriter, start time.Time, within time.Duration) (release func()) {
	connection := http.NewResponseController(w)
	err := errors.Join(connection.SetReadDeadline(start.Add(within)), connection.SetWriteDeadline(start.Add(within+a.Settings.Timeout)))
	if err != nil {
		a.Log.Debug("set deadlines of a connection", "err", err)
	}
	return func() {
		if err := connection.SetWriteDeadline(time.Time{}); err != nil {
			a.Log.Debug("clear a connection's deadline", "err", err)
		}
	}
}

func (a *api) enter(one route, r *http.Request) (any, error) {
	// What cannot be read is refused: a parameter that was dropped silently would widen what is asked for.
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
		return nil, fault.New(fault.Invalid, "Query string is malformed: "+err.Error())
	}
	if one.roles == nil {
		return one.serve(r, auth.Principal{})
	}
	p, err := a.principal(r)
	if err != nil {
		return nil, err
	}
	if !p.Is(one.roles...) {
		return nil, auth.Denied()
	}
	actor := entity.Actor{User: p.User, UserName: p.Email, UserEmail: p.Email}
	return one.serve(r.WithContext(entity.WithActor(r.Context(), actor)), p)
}

// principal reads the token of a request. The first header present decides (rest-api §1.1).
func (a *api) principal(r *http.Request) (auth.Principal, error) {
	header := r.Header.Get("X-Authorization")
	if header == "" {
		header = r.Header.Get("Authorization")
	}
	token, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		return auth.Principal{}, fault.New(fault.Unauthenticated, "Authentication failed")
	}
	return a.Accounts.Authenticate(r.Context(), token)
}

// recovered turns a panic of one request into a 500 of that request.
func (a *api) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			failure := recover()
			if failure == nil {
				return
			}
			if failure == http.ErrAbortHandler {
				panic(failure) // net/http's own way to end a connection
			}
			a.metrics.panics.Inc()
			a.Log.Error("panic in a request", "method", r.Method, "path", r.URL.Path, "panic", failure, "stack", string(debug.Stack()))
			a.writeError(w, http.StatusInternalServerError, codeGeneral, "Internal server error")
		}()
		next.ServeHTTP(w, r)
	})
}

func (a *api) answer(w http.ResponseWriter, r *http.Request, answer any) int {
	var body []byte
	contentType, status := "application/json", http.StatusOK
	if v, is := answer.(refused); is {
		answer, status = v.body, http.StatusBadRequest
	}
	switch v := answer.(type) {
	case nil:
		w.WriteHeader(http.StatusOK)
		return http.StatusOK
	case file:
		return a.sendFile(w, r, v)
	case redirect:
		http.Redirect(w, r, string(v), http.StatusSeeOther)
		return http.StatusSeeOther
	case text:
		contentType, body = "text/plain;charset=UTF-8", []byte(v)
	case raw:
		body = v
	default:
		var err error
		if body, err = json.Marshal(v); err != nil {
			return a.fail(w, r, err)
		}
	}
	w.Header().Set("Content-Type", contentType)
	a.send(w, status, body)
	return status
}

// send writes a whole answer; that the client has gone is not ours to report.
func (a *api) send(w http.ResponseWriter, status int, body []byte) {
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		a.Log.Debug("client went away", "err", err)
	}
}

// read returns the whole body.
func read(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bodyError(err)
	}
	return body, nil
}

func bodyError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	return fault.Wrap(fault.Invalid, "request body cannot be read", err)
}

// errContentType says that a body is not declared as JSON.
var errContentType = fault.New(fault.Invalid, "Content type isn't supported: application/json is")

// decode reads a JSON body into v; the error names the field at fault. Fields that are not known are ignored.
func decode(r *http.Request, v any) error {
	if declared := r.Header.Get("Content-Type"); declared != "" {
		kind, _, err := mime.ParseMediaType(declared)
		if err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
			return errContentType
		}
	}
	body, err := read(r)
	if err != nil {
		return err
	}
	return unmarshal(body, v)
}

func unmarshal(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	var wrongType *json.UnmarshalTypeError
	var own *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return invalid(jsonName(wrongType.Field), "a "+wrongType.Value+" is not expected here")
	}
	return fault.New(fault.Invalid, "request body is not valid JSON: "+err.Error())
}

// jsonName turns the path of a Go field into that of the JSON it was read from: TenantProfileID is tenantProfileId.
func jsonName(path string) string {
	names := strings.Split(path, ".")
	for i, name := range names {
		if base, ok := strings.CutSuffix(name, "ID"); ok {
			name = base + "Id"
		}
		names[i] = strings.ToLower(name[:1]) + name[1:]
	}
	return strings.Join(names, ".")
}
