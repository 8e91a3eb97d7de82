package httpapi

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// uniquifyAttempts bounds the search for a name nobody has.
const uniquifyAttempts = 100

// uniquify creates something under name, and when that is in use does as the request's
// nameConflictPolicy says: FAIL, or UNIQUIFY by a suffix (rest-api §2.3, §2.4).
func uniquify[T any](r *http.Request, name string, taken func(name string) (bool, error), create func(name string) (T, error)) (T, error) {
	var none T
	suffix, err := suffixes(r)
	if err != nil {
		return none, err
	}
	if suffix == nil {
		return create(name)
	}
	candidate := name
	for n := 1; n <= uniquifyAttempts; n++ {
		inUse, err := taken(candidate)
		if err != nil {
			return none, err
		}
		if !inUse {
			created, err := create(candidate)
			if !errors.Is(err, storage.ErrTaken) {
				return created, err
			}
			// Either somebody was faster, or what is in use is not the name: then it stays so.
			if inUse, lookup := taken(candidate); lookup != nil || !inUse {
				return none, err
			}
		}
		candidate = name + suffix(n)
	}
	return create(candidate)
}

// suffixes returns what makes the n-th try's suffix, or nil when a name in use is to fail.
func suffixes(r *http.Request) (func(n int) string, error) {
	q := r.URL.Query()
	switch policy := q.Get("nameConflictPolicy"); policy {
	case "", "FAIL":
		return nil, nil
	case "UNIQUIFY":
	default:
		return nil, invalid("nameConflictPolicy", fmt.Sprintf("%q is neither FAIL nor UNIQUIFY", policy))
	}
	separator := "_"
	if q.Has("uniquifySeparator") {
		separator = q.Get("uniquifySeparator")
	}
	switch strategy := q.Get("uniquifyStrategy"); strategy {
	case "", "RANDOM":
		return func(int) string { return separator + strings.ToLower(rand.Text()[:6]) }, nil
	case "INCREMENTAL":
		return func(n int) string { return separator + strconv.Itoa(n) }, nil
	default:
		return nil, invalid("uniquifyStrategy", fmt.Sprintf("%q is neither RANDOM nor INCREMENTAL", strategy))
	}
}

// exists reads the error of a look-up by name.
func exists(err error) (bool, error) {
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
