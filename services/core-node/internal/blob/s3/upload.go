package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/blob"
)

const (
	// pieceBytes is how much one request carries.
	pieceBytes = 8 << 20
	// maxPieces is how many an upload may have, by S3's rules.
	maxPieces = 10_000
)

// upload is one that is not completed. S3 shows nothing of it as an object.
type upload struct {
	key, id   string
	initiated time.Time
}

// begin begins one and returns its id.
func (s *Store) begin(ctx context.Context, object string) (id string, err error) {
	err = s.client.do(ctx, request{method: http.MethodPost, object: object, query: url.Values{"uploads": {""}}, take: func(answer *http.Response) error {
		begun, err := read(answer, "InitiateMultipartUploadResult")
		if err != nil {
			return err
		}
		if id = begun.text("UploadId"); id == "" {
			return &failure{status: answer.StatusCode, message: "an upload without an id"}
		}
		return nil
	}})
	return id, err
}

// putPieces stores data beyond piece[:n], which has one byte more than a request carries unless data has ended. After an error the
// upload is gone, as far as S3 could be told.
func (s *Store) putPieces(ctx context.Context, object string, data io.Reader, piece []byte, n int, ended bool) error {
	id, err := s.begin(ctx, object)
	if err != nil {
		return fmt.Errorf("begin an upload: %w", err)
	}
	var tags []string
	size := int64(0)
	for n > 0 && err == nil {
		length := min(n, pieceBytes)
		var tag string
		tag, err = s.putPiece(ctx, object, id, len(tags)+1, piece[:length])
		tags = append(tags, tag)
		size += int64(length)
		n = copy(piece, piece[length:n])
		if err == nil && !ended {
			var more int
			more, ended, err = fill(data, piece[n:])
			n += more
		}
	}
	if err != nil {
		return errors.Join(err, s.tidy(ctx, func(ctx context.Context) error { return s.abort(ctx, object, id) }))
	}
	if err = s.complete(ctx, object, id, tags, size); err != nil {
		// It may have been completed all the same: whichever of the two it is now, it goes.
		return errors.Join(err, s.tidy(ctx, func(ctx context.Context) error {
			return errors.Join(s.abort(ctx, object, id), s.remove(ctx, object))
		}))
	}
	return nil
}

// fill fills p from data and says whether data has ended.
func fill(data io.Reader, p []byte) (n int, ended bool, err error) {
	n, err = blob.Fill(data, p)
	if err == io.EOF { //nolint:errorlint // Fill's own
		return n, true, nil
	}
	if err != nil {
		err = fmt.Errorf("read the data: %w", err)
	}
	return n, false, err
}

func (s *Store) putPiece(ctx context.Context, object, id string, number int, data []byte) (tag string, err error) {
	if number > maxPieces {
		return "", fmt.Errorf("the data is larger than %d pieces of %d bytes", maxPieces, pieceBytes)
	}
	query := url.Values{"partNumber": {strconv.Itoa(number)}, "uploadId": {id}}
	err = s.client.do(ctx, request{method: http.MethodPut, object: object, query: query, body: data, take: func(answer *http.Response) error {
		if tag = answer.Header.Get("ETag"); tag == "" {
			return &failure{status: answer.StatusCode, message: "a piece without an ETag"}
		}
		return nil
	}})
	if err != nil {
		return "", fmt.Errorf("put piece %d: %w", number, err)
	}
	return tag, nil
}

// complete makes an object of an upload's pieces, which S3 gave those tags.
func (s *Store) complete(ctx context.Context, object, id string, tags []string, size int64) error {
	var body bytes.Buffer
	body.WriteString("<CompleteMultipartUpload>")
	for i, tag := range tags {
		fmt.Fprintf(&body, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, html.EscapeString(tag))
	}
	body.WriteString("</CompleteMultipartUpload>")
	err := s.client.do(ctx, request{method: http.MethodPost, object: object, query: url.Values{"uploadId": {id}}, body: body.Bytes(), take: completed})
	if says(err, noSuchUpload) && s.whole(ctx, object, size) {
		return nil // an attempt whose answer was lost has done it
	}
	if err != nil {
		return fmt.Errorf("complete an upload: %w", err)
	}
	return nil
}

// completed reads the answer to a completion, which takes S3 so long that it says 200 first and how it went afterwards.
func completed(answer *http.Response) error {
	_, err := read(answer, "CompleteMultipartUploadResult")
	return err
}

// whole reports whether there is an object of that size.
func (s *Store) whole(ctx context.Context, object string, size int64) bool {
	n, err := s.readAt(ctx, object, make([]byte, 2), size-1)
	return err == nil && n == 1
}

// abort ends an upload and frees what it has stored; that there is none is success.
func (s *Store) abort(ctx context.Context, object, id string) error {
	err := s.client.do(ctx, request{method: http.MethodDelete, object: object, query: url.Values{"uploadId": {id}}})
	if err != nil && !says(err, noSuchUpload) {
		return fmt.Errorf("abort an upload: %w", err)
	}
	return nil
}

// page is an answer to ListMultipartUploads.
type page struct {
	truncated       bool
	nextKey, nextID string
	uploads         []upload
}

func readPage(answer *http.Response) (p page, err error) {
	list, err := read(answer, "ListMultipartUploadsResult")
	if err != nil {
		return p, err
	}
	p = page{truncated: list.text("IsTruncated") == "true", nextKey: list.text("NextKeyMarker"), nextID: list.text("NextUploadIdMarker")}
	for one, rest, found := list.cut("Upload"); found; one, rest, found = rest.cut("Upload") {
		u := upload{key: one.text("Key"), id: one.text("UploadId")}
		if u.initiated, err = time.Parse(time.RFC3339, one.text("Initiated")); err != nil {
			return p, lost(fmt.Errorf("read the answer: %w", err))
		}
		p.uploads = append(p.uploads, u)
	}
	return p, nil
}

// unfinished are the uploads of objects whose names begin with prefix. An error is the last.
func (s *Store) unfinished(ctx context.Context, prefix string) iter.Seq2[upload, error] {
	return func(yield func(upload, error) bool) {
		query := url.Values{"uploads": {""}, "prefix": {prefix}}
		for {
			var p page
			err := s.client.do(ctx, request{method: http.MethodGet, query: query, take: func(answer *http.Response) (err error) {
				p, err = readPage(answer)
				return err
			}})
			if err == nil && p.truncated && p.nextKey == query.Get("key-marker") && p.nextID == query.Get("upload-id-marker") {
				err = &failure{status: http.StatusOK, message: "the same page again"}
			}
			if err != nil {
				yield(upload{}, fmt.Errorf("list unfinished uploads: %w", err))
				return
			}
			for _, u := range p.uploads {
				if !yield(u, nil) {
					return
				}
			}
			if !p.truncated {
				return
			}
			query.Set("key-marker", p.nextKey)
			query.Set("upload-id-marker", p.nextID)
		}
	}
}
