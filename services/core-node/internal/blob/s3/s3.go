// Package s3 keeps blobs as objects of a bucket that all core nodes share: Amazon's, or of any server that speaks its protocol. A blob
// that fits into one request is one; a larger one is an upload of pieces, which S3 makes an object of at the end or not at all.
package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/blob"
)

// Options say where the blobs are.
type Options struct {
	Settings
	// Abandoned is how old an unfinished upload may become: older ones, whose process has died, are removed by Sweep. 0: none are.
	Abandoned time.Duration
	// Pause is before the first of two retries; the second comes after four times as long. 0: 200 ms.
	Pause time.Duration
	Now   func() time.Time // what uploads' ages are told by; nil: time.Now
}

// Store is a blob.Store. An object is found under the name of its blob, after the prefix. It holds 8 MiB for each Put under way.
type Store struct {
	client    *client
	prefix    string
	abandoned time.Duration
	now       func() time.Time
}

var _ blob.Store = (*Store)(nil)

// New returns the store of a bucket, which must be there and is not asked before it is used. An error names the setting.
func New(o Options) (*Store, error) {
	c, err := newClient(o.Settings, cmp.Or(o.Pause, 200*time.Millisecond))
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{c, o.Prefix, o.Abandoned, o.Now}, nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, name string, data io.Reader) error {
	if err := blob.CheckName(name); err != nil {
		return err
	}
	// The byte beyond a request's worth tells whether there is more.
	piece := make([]byte, pieceBytes+1)
	n, ended, err := fill(data, piece)
	if err != nil {
		return err
	}
	object := s.prefix + name
	if !ended || n > pieceBytes {
		return s.putPieces(ctx, object, data, piece, n, ended)
	}
	err = s.client.do(ctx, request{method: http.MethodPut, object: object, body: piece[:n]})
	if err == nil {
		return nil
	}
	err = fmt.Errorf("put an object: %w", err)
	if unclear(err) {
		err = errors.Join(err, s.tidy(ctx, func(ctx context.Context) error { return s.remove(ctx, object) }))
	}
	return err
}

// tidyWithin bounds the tidying after a Put, which nobody may wait for any more.
const tidyWithin = 10 * time.Second

// tidy does act even though ctx may have ended.
func (s *Store) tidy(ctx context.Context, act func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyWithin)
	defer cancel()
	return act(ctx)
}

// ReadAt implements blob.Store. For no bytes S3 is not asked.
func (s *Store) ReadAt(ctx context.Context, name string, p []byte, offset int64) (int, error) {
	if err := blob.CheckName(name); err != nil {
		return 0, err
	}
	if offset < 0 {
		return 0, fmt.Errorf("read an object: offset %d is negative", offset)
	}
	return s.readAt(ctx, s.prefix+name, p, offset)
}

func (s *Store) readAt(ctx context.Context, object string, p []byte, offset int64) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	last := int64(math.MaxInt64)
	if offset < last-int64(len(p)) {
		last = offset + int64(len(p)) - 1
	}
	err = s.client.do(ctx, request{method: http.MethodGet, object: object, span: fmt.Sprintf("bytes=%d-%d", offset, last), take: func(answer *http.Response) error {
		// Whoever takes no notice of the range sends the whole.
		whole := answer.StatusCode == http.StatusOK && offset == 0
		if !whole && !strings.HasPrefix(answer.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)) {
			return &failure{status: answer.StatusCode, message: "other bytes than those asked for"}
		}
		var err error
		if n, _, err = fill(answer.Body, p); err != nil {
			return lost(err)
		}
		return nil
	}})
	if answered(err, http.StatusRequestedRangeNotSatisfiable) {
		return 0, nil // there is nothing beyond the end
	}
	if err != nil {
		return 0, fmt.Errorf("read an object: %w", err)
	}
	return n, nil
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := blob.CheckName(name); err != nil {
		return err
	}
	object := s.prefix + name
	// Uploads first: one that is completed meanwhile has become the object.
	for u, err := range s.unfinished(ctx, object) {
		if err != nil {
			return err
		}
		if u.key != object {
			continue // its name only begins so
		}
		if err := s.abort(ctx, object, u.id); err != nil {
			return err
		}
	}
	return s.remove(ctx, object)
}

// remove removes an object; that there is none is success.
func (s *Store) remove(ctx context.Context, object string) error {
	err := s.client.do(ctx, request{method: http.MethodDelete, object: object})
	if err != nil && !says(err, noSuchKey) {
		return fmt.Errorf("remove an object: %w", err)
	}
	return nil
}

// Sweep ends the uploads that processes which died have left, and says how many those were. Others' in the same bucket it leaves alone:
// those outside the prefix, and of objects whose name is no blob's.
func (s *Store) Sweep(ctx context.Context) (removed int, err error) {
	if s.abandoned <= 0 {
		return 0, nil
	}
	for u, err := range s.unfinished(ctx, s.prefix) {
		if err != nil {
			return removed, err
		}
		name, ours := strings.CutPrefix(u.key, s.prefix)
		if !ours || blob.CheckName(name) != nil || s.now().Sub(u.initiated) < s.abandoned {
			continue
		}
		if err := s.abort(ctx, u.key, u.id); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}
