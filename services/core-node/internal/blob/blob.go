// Package blob keeps large data under names: firmware and software. A blob is written once, whole, and never changed. What it
// is for, and whose, is said elsewhere: in the document that names it.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// Errors of every store. Compare with errors.Is.
var (
	// ErrNotFound: there is no blob of that name, or not yet the whole of it.
	ErrNotFound = errors.New("blob: not found")
	// ErrUnavailable: the store cannot take the request now; the same request may succeed later.
	ErrUnavailable = errors.New("blob: unavailable")
	// ErrName: the name is none.
	ErrName = errors.New("blob: not a name")
)

// Store keeps blobs. A backend passes blobtest. Safe for concurrent use.
type Store interface {
	// Put stores all that data yields under a name never used before, and returns once it is durable. It holds no more than a
	// few MB of it in memory. When it fails, or the process dies, there is no blob of that name; data's own error is returned wrapped.
	Put(ctx context.Context, name string, data io.Reader) error
	// ReadAt fills p from the blob's byte offset on and returns how many bytes there were: fewer at the end, none beyond it.
	ReadAt(ctx context.Context, name string, p []byte, offset int64) (int, error)
	// Delete removes a blob and what a Put that died left of it; that there is none is success.
	Delete(ctx context.Context, name string) error
}

var names = regexp.MustCompile(`^[0-9a-z][0-9a-z-]{0,63}/[0-9a-z][0-9a-z-]{0,63}$`)

// CheckName is ErrName unless name is a folder and a name in it, of lower-case letters, digits and dashes.
func CheckName(name string) error {
	if !names.MatchString(name) {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	return nil
}

// Fill reads from data until p is full. io.EOF says that data has ended properly, with what was read; data's other errors,
// io.ErrUnexpectedEOF among them, come as they are.
func Fill(data io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = data.Read(p[n:])
		n += more
	}
	return n, err
}
