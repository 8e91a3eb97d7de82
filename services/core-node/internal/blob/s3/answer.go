package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/sluice-iot/sluice/services/core-node/internal/blob"
)

// Most bytes read of an answer that is no data: an error's, and any other's, the longest being a page of a thousand uploads.
const (
	maxErrorBytes  = 64 << 10
	maxAnswerBytes = 4 << 20
)

// maxMessage is how much of S3's own words an error repeats, bytes.
const maxMessage = 300

// failure is an answer that says no, or none.
type failure struct {
	status        int    // 0: there was no answer, or not all of it
	code, message string // S3's own; "" where it says none
	cause         error
}

// Error implements error.
func (f *failure) Error() string {
	if f.cause != nil {
		return f.cause.Error()
	}
	text := fmt.Sprintf("S3 answers %d", f.status)
	if f.code != "" {
		text += " " + f.code
	}
	if f.message != "" {
		text += ": " + f.message
	}
	if f.status == http.StatusForbidden {
		text += " (are --blob-s3-key-id and --blob-s3-secret right, and may the key list the bucket, read, write and delete in it?)"
	}
	return text
}

// Unwrap says of which kind it is. What operators have to put right, such as a key without rights, is away until they have, as a
// folder is that cannot be written.
func (f *failure) Unwrap() []error {
	kind := blob.ErrUnavailable
	if f.code == noSuchKey {
		kind = blob.ErrNotFound
	}
	if f.cause != nil {
		return []error{kind, f.cause}
	}
	return []error{kind}
}

// Codes of S3 that mean something to us.
const (
	noSuchKey    = "NoSuchKey"
	noSuchUpload = "NoSuchUpload"
)

// passing are codes of what may go well the next time, whatever status they come with.
var passing = []string{"InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling"}

// mayPass reports whether the same request may go well in a moment.
func mayPass(err error) bool {
	var f *failure
	if !errors.As(err, &f) {
		return false
	}
	return f.status == 0 || f.status == http.StatusTooManyRequests || slices.Contains(passing, f.code) ||
		f.status >= http.StatusInternalServerError && f.status != http.StatusNotImplemented
}

// unclear reports whether S3 may have done what it was asked all the same.
func unclear(err error) bool {
	return mayPass(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// says reports whether err is S3's answer of that code.
func says(err error, code string) bool {
	var f *failure
	return errors.As(err, &f) && f.code == code
}

// answered reports whether err is an answer of that status.
func answered(err error, status int) bool {
	var f *failure
	return errors.As(err, &f) && f.status == status
}

// lost is a failure without an answer.
func lost(err error) error { return &failure{cause: err} }

// refusal is the failure that an answer tells of. An answer without S3's words, such as a proxy's, has its status.
func refusal(answer *http.Response) error {
	f := &failure{status: answer.StatusCode}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxErrorBytes))
	if err == nil {
		f.say(element(text))
	}
	return f
}

// say takes over what an element of the name Error says.
func (f *failure) say(text element) {
	if said, _, found := text.cut("Error"); found {
		f.code, f.message = said.text("Code"), said.text("Message")
		f.message = strings.ToValidUTF8(f.message[:min(len(f.message), maxMessage)], "")
	}
}

// read returns what the answer's element of that name holds. An answer without is a failure, S3's own if it says one.
func read(answer *http.Response, name string) (element, error) {
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, lost(fmt.Errorf("read the answer: %w", err))
	}
	if len(text) > maxAnswerBytes {
		return nil, &failure{status: answer.StatusCode, message: "more than can be read"}
	}
	result, _, found := element(text).cut(name)
	if !found {
		f := &failure{status: answer.StatusCode}
		if f.say(text); f.code == "" {
			return nil, lost(fmt.Errorf("read the answer: it has no %s", name))
		}
		return nil, f
	}
	return result, nil
}
