package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/blob"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob/blobtest"
)

func TestS3(t *testing.T) {
	blobtest.Test(t, func(t *testing.T) blob.Store { return newBucket(t).open() })
}

// TestAnswers: each answer that is no success has its kind and S3's words, and is asked for again if that may help.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   error
		asked  int
	}{
		{404, "NoSuchKey", blob.ErrNotFound, 1},
		{404, "NoSuchBucket", blob.ErrUnavailable, 1},
		{403, "AccessDenied", blob.ErrUnavailable, 1},
		{301, "PermanentRedirect", blob.ErrUnavailable, 1},
		{400, "AuthorizationHeaderMalformed", blob.ErrUnavailable, 1},
		{400, "RequestTimeout", blob.ErrUnavailable, 3},
		{429, "TooManyRequests", blob.ErrUnavailable, 3},
		{500, "InternalError", blob.ErrUnavailable, 3},
		{501, "NotImplemented", blob.ErrUnavailable, 1},
		{503, "SlowDown", blob.ErrUnavailable, 3},
	} {
		b := newBucket(t)
		b.wrong = func(w http.ResponseWriter, _ *http.Request) bool { refuse(w, c.status, c.code); return true }
		_, err := b.open().ReadAt(t.Context(), "tenant/blob", make([]byte, 10), 0)
		if !errors.Is(err, c.want) || errors.Is(err, blob.ErrUnavailable) == errors.Is(err, blob.ErrNotFound) ||
			!strings.Contains(err.Error(), fmt.Sprintf("%d %s: because of %s", c.status, c.code, c.code)) {
			t.Errorf("%d %s: %v", c.status, c.code, err)
		}
		if n := b.count("GET /the-bucket/sluice/tenant/blob"); n != c.asked {
			t.Errorf("%d %s: asked %d times, want %d", c.status, c.code, n, c.asked)
		}
	}
}

// TestAnswersThatAreNotS3s: pages of others, ends in the middle and silence are no data, and no missing blob.
func TestAnswersThatAreNotS3s(t *testing.T) {
	for name, wrong := range map[string]func(w http.ResponseWriter){
		"a page":      func(w http.ResponseWriter) { w.WriteHeader(404); fmt.Fprint(w, "<html>nothing here<br></html>") },
		"an end":      func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"half":        func(w http.ResponseWriter) { w.Header().Set("Content-Length", "10"); fmt.Fprint(w, "half") },
		"other bytes": func(w http.ResponseWriter) { w.Header().Set("Content-Range", "bytes 3-12/100"); w.WriteHeader(206) },
		"a long no":   func(w http.ResponseWriter) { w.WriteHeader(400); fmt.Fprint(w, strings.Repeat("x", 1<<20)) },
		"silence":     func(http.ResponseWriter) { time.Sleep(50 * time.Millisecond) },
	} {
		b := newBucket(t)
		b.wrong = func(w http.ResponseWriter, _ *http.Request) bool { wrong(w); return true }
		o := b.options()
		if name == "silence" {
			o.Timeout = 10 * time.Millisecond
		}
		if n, err := opened(t, o).ReadAt(t.Context(), "tenant/blob", make([]byte, 10), 0); !errors.Is(err, blob.ErrUnavailable) || n != 0 {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
	b := newBucket(t)
	b.wrong = func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, "all of it"); return true } // knows no ranges
	if n, err := b.open().ReadAt(t.Context(), "tenant/blob", make([]byte, 3), 0); n != 3 || err != nil {
		t.Errorf("the whole from 0: %d, %v", n, err)
	}
	if n, err := b.open().ReadAt(t.Context(), "tenant/blob", make([]byte, 3), 3); n != 0 || !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("the whole from 3: %d, %v", n, err)
	}
}

// TestWhatFailsOnceIsAskedAgain: each kind of request, twice refused and once cut off, goes well in the end.
func TestWhatFailsOnceIsAskedAgain(t *testing.T) {
	b := newBucket(t)
	attempts := map[string]int{}
	b.wrong = func(w http.ResponseWriter, r *http.Request) bool {
		request := r.Method + r.URL.String()
		attempts[request]++
		switch attempts[request] {
		case 1:
			refuse(w, http.StatusServiceUnavailable, "SlowDown")
		case 2:
			panic(http.ErrAbortHandler)
		}
		return attempts[request] < 3
	}
	s := b.open()
	small, large := blobtest.Data(1000, 1), blobtest.Data(9<<20, 2)
	for name, data := range map[string][]byte{"tenant/small": small, "tenant/large": large} {
		if err := s.Put(t.Context(), name, bytes.NewReader(data)); err != nil {
			t.Fatalf("put %s: %v", name, err)
		}
		got := make([]byte, len(data))
		if n, err := s.ReadAt(t.Context(), name, got, 0); err != nil || n != len(data) || !bytes.Equal(got, data) {
			t.Fatalf("read %s: %d bytes, %v", name, n, err)
		}
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatalf("delete %s: %v", name, err)
		}
	}
	if objects, uploads := b.left(); objects+uploads > 0 {
		t.Errorf("%d objects and %d uploads are left", objects, uploads)
	}
}

// TestAPutThatFailsLeavesNothing, whichever of its requests fails and however.
func TestAPutThatFailsLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		size  int
		wrong func(b *bucket, w http.ResponseWriter, r *http.Request) bool
	}{
		"stored, and the answer lost": {1000, func(b *bucket, w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				b.objects["sluice/tenant/blob"] = []byte("stored")
				panic(http.ErrAbortHandler)
			}
			return false
		}},
		"a piece refused": {20 << 20, func(_ *bucket, w http.ResponseWriter, r *http.Request) bool {
			refused := r.URL.Query().Get("partNumber") == "2"
			if refused {
				refuse(w, http.StatusForbidden, "AccessDenied")
			}
			return refused
		}},
		"completed, it says 200 and an error": {9 << 20, func(_ *bucket, w http.ResponseWriter, r *http.Request) bool {
			completes := r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
			if completes {
				refuse(w, http.StatusOK, "InvalidPart")
			}
			return completes
		}},
		"completed, it says 200 and nothing": {9 << 20, func(_ *bucket, _ http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
		}},
		"completed, and every answer lost": {9 << 20, func(b *bucket, w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
				b.objects["sluice/tenant/blob"] = []byte("stored")
				panic(http.ErrAbortHandler)
			}
			return false
		}},
	} {
		b := newBucket(t)
		b.wrong = func(w http.ResponseWriter, r *http.Request) bool { return c.wrong(b, w, r) }
		if err := b.open().Put(t.Context(), "tenant/blob", bytes.NewReader(make([]byte, c.size))); !errors.Is(err, blob.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		if objects, uploads := b.left(); objects+uploads > 0 {
			t.Errorf("%s: %d objects and %d uploads are left", name, objects, uploads)
		}
	}
}

// TestTheSenderFails: the upload is aborted, also when the sender has given up with its context.
func TestTheSenderFails(t *testing.T) {
	for name, end := range map[string]func(cancel func()){"an error": func(func()) {}, "gone": func(cancel func()) { cancel() }} {
		b := newBucket(t)
		ctx, cancel := context.WithCancel(t.Context())
		broken := errors.New("the sender is gone")
		data := io.MultiReader(bytes.NewReader(make([]byte, 9<<20)), readerFunc(func([]byte) (int, error) { end(cancel); return 0, broken }))
		if err := b.open().Put(ctx, "tenant/blob", data); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		if begun, put := b.count("POST /the-bucket/sluice/tenant/blob?uploads"), b.count("PUT"); begun != 1 || put != 1 {
			t.Errorf("%s: %d uploads, %d pieces", name, begun, put)
		}
		if objects, uploads := b.left(); objects+uploads > 0 {
			t.Errorf("%s: %d objects and %d uploads are left", name, objects, uploads)
		}
		cancel()
	}
	b := newBucket(t)
	if err := b.open().Put(t.Context(), "tenant/blob", iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) || len(b.asked) > 0 {
		t.Errorf("at once: %v, asked %v", err, b.asked)
	}
}

type readerFunc func([]byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestCompletedThoughItSaidOtherwise: a completion that is to be asked again is; one that was done while its answer was lost is success.
func TestCompletedThoughItSaidOtherwise(t *testing.T) {
	for name, done := range map[string]bool{"not done": false, "done": true} {
		b := newBucket(t)
		attempts := 0
		b.wrong = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost || !r.URL.Query().Has("uploadId") {
				return false
			}
			attempts++
			switch {
			case attempts == 1 && done:
				for id, u := range b.uploads {
					b.objects[u.object] = append(u.data[1], u.data[2]...)
					delete(b.uploads, id)
				}
				panic(http.ErrAbortHandler)
			case attempts == 1:
				refuse(w, http.StatusOK, "InternalError")
			}
			return attempts == 1
		}
		data := blobtest.Data(9<<20, 1)
		if err := b.open().Put(t.Context(), "tenant/blob", bytes.NewReader(data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if objects, uploads := b.left(); objects != 1 || uploads != 0 || !bytes.Equal(b.objects["sluice/tenant/blob"], data) {
			t.Errorf("%s: %d objects and %d uploads are left, or other data", name, objects, uploads)
		}
	}
}

// TestABlobIsNeverHeldWhole: neither in one request nor in memory.
func TestABlobIsNeverHeldWhole(t *testing.T) {
	b := newBucket(t)
	b.forget = true
	const size = 100 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := b.open().Put(t.Context(), "tenant/blob", io.LimitReader(readerFunc(func(p []byte) (int, error) { return len(p), nil }), size)); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 24<<20 {
		t.Errorf("%d bytes were allocated for %d", allocated, size)
	}
	if b.largest != 8<<20 || b.received < size {
		t.Errorf("%d bytes came, at most %d at once", b.received, b.largest)
	}
}

// TestAWrongSecret is told as what it is, without being repeated.
func TestAWrongSecret(t *testing.T) {
	b := newBucket(t)
	o := b.options()
	o.Secret = "guessed"
	err := opened(t, o).Put(t.Context(), "tenant/blob", strings.NewReader("data"))
	if !errors.Is(err, blob.ErrUnavailable) || !strings.Contains(err.Error(), "403 SignatureDoesNotMatch") || !strings.Contains(err.Error(), "--blob-s3-secret") || strings.Contains(err.Error(), "guessed") {
		t.Error(err)
	}
	if n := b.count(""); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestTheContextEndsIt: neither a request nor a pause outlasts its caller.
func TestTheContextEndsIt(t *testing.T) {
	b := newBucket(t)
	o := b.options()
	o.Pause = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	b.wrong = func(w http.ResponseWriter, _ *http.Request) bool {
		refuse(w, http.StatusInternalServerError, "InternalError")
		time.AfterFunc(50*time.Millisecond, cancel)
		return true
	}
	if _, err := opened(t, o).ReadAt(ctx, "tenant/blob", make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestSweep: old uploads of blobs go, over several pages; young ones, others' and whole blobs stay.
func TestSweep(t *testing.T) {
	b := newBucket(t)
	b.page = 2
	old := time.Now().Add(-2 * time.Hour)
	for i, object := range []string{"sluice/a/1", "sluice/a/1-2", "sluice/a/2", "other/a/1", "sluice/backup.tar", "sluice/a/3", "sluice/a/4"} {
		began := old
		if object == "sluice/a/3" {
			began = time.Now()
		}
		b.uploads[fmt.Sprint(100+i)] = &pieces{object, began, nil}
	}
	s := b.open()
	if err := s.Put(t.Context(), "a/5", strings.NewReader("whole")); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "a/1"); err != nil || len(b.uploads) != 6 {
		t.Errorf("delete: %v, %d uploads are left", err, len(b.uploads))
	}
	if n, err := s.Sweep(t.Context()); n != 3 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	if objects, uploads := b.left(); objects != 1 || uploads != 3 {
		t.Errorf("%d objects and %d uploads are left", objects, uploads)
	}
	b.wrong = func(w http.ResponseWriter, _ *http.Request) bool {
		fmt.Fprint(w, "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>")
		return true
	}
	if _, err := s.Sweep(t.Context()); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("a list without an end: %v", err)
	}
}
