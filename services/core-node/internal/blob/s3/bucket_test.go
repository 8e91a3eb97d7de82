package s3_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/sluice-iot/sluice/services/core-node/internal/blob/s3"
)

const (
	keyID  = "ourselves"
	secret = "our-secret"
)

// bucket is a little S3 in this process, which goes wrong on demand. The tests with the tag fleet ask a real one.
type bucket struct {
	t      *testing.T
	server *httptest.Server
	// wrong, if not nil, may answer a request itself, and returns whether it has. r's body has been read.
	wrong func(w http.ResponseWriter, r *http.Request) bool
	// forget has it drop the data that comes, for tests of memory.
	forget bool
	// page is how many uploads it lists at once.
	page int

	mu       sync.Mutex
	objects  map[string][]byte
	uploads  map[string]*pieces
	asked    []string // method, path and query of each request
	largest  int64    // body
	received int64
	ids      int
}

type pieces struct {
	object string
	began  time.Time
	data   map[int][]byte
}

func newBucket(t *testing.T) *bucket {
	b := &bucket{t: t, page: 1000, objects: map[string][]byte{}, uploads: map[string]*pieces{}}
	b.server = httptest.NewServer(b)
	t.Cleanup(b.server.Close)
	return b
}

// options are of a store in it that loses no time.
func (b *bucket) options() s3.Options {
	return s3.Options{Settings: s3.Settings{
		Bucket: "the-bucket", Endpoint: b.server.URL, Region: "eu-north-1", Prefix: "sluice/", KeyID: keyID, Secret: secret, Timeout: 10 * time.Second,
	}, Pause: time.Millisecond, Abandoned: time.Hour}
}

func (b *bucket) open() *s3.Store {
	b.t.Helper()
	return opened(b.t, b.options())
}

func opened(t *testing.T, o s3.Options) *s3.Store {
	t.Helper()
	s, err := s3.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// count is how many requests came that begin so: "PUT /the-bucket/…".
func (b *bucket) count(begin string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, asked := range b.asked {
		if strings.HasPrefix(asked, begin) {
			n++
		}
	}
	return n
}

// left is what is there: objects, and uploads that are not completed.
func (b *bucket) left() (objects, uploads int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.objects), len(b.uploads)
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<Error><Code>%s</Code><Message>because of %s</Message></Error>`, code, code)
}

// ServeHTTP implements http.Handler.
func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var kept strings.Builder
	sum := sha256.New()
	to := io.Writer(sum)
	if !b.forget || r.Method == http.MethodPost {
		to = io.MultiWriter(sum, &kept)
	}
	n, err := io.Copy(to, r.Body)
	if err != nil {
		return // the client has gone
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, r.Method+" "+r.URL.RequestURI())
	b.largest, b.received = max(b.largest, n), b.received+n
	switch hash := hex.EncodeToString(sum.Sum(nil)); {
	case r.Header.Get("X-Amz-Content-Sha256") != hash:
		refuse(w, http.StatusBadRequest, "XAmzContentSHA256Mismatch")
	case !b.signed(r, hash, n):
		refuse(w, http.StatusForbidden, "SignatureDoesNotMatch")
	case b.wrong == nil || !b.wrong(w, r):
		b.answer(w, r, []byte(kept.String()))
	}
}

// signed makes the signature once more, with the right secret.
func (b *bucket) signed(r *http.Request, hash string, length int64) bool {
	again, err := http.NewRequest(r.Method, b.server.URL+r.URL.RequestURI(), nil)
	at, timeErr := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || timeErr != nil {
		return false
	}
	again.ContentLength = length
	for _, name := range []string{"X-Amz-Content-Sha256", "Range"} {
		if value := r.Header.Get(name); value != "" {
			again.Header.Set(name, value)
		}
	}
	err = v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, again, hash, "s3", "eu-north-1", at,
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	return err == nil && again.Header.Get("Authorization") == r.Header.Get("Authorization")
}

func (b *bucket) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	object, ok := strings.CutPrefix(r.URL.Path, "/the-bucket")
	object = strings.TrimPrefix(object, "/")
	query := r.URL.Query()
	id := query.Get("uploadId")
	u := b.uploads[id]
	switch {
	case !ok:
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case object == "" && r.Method == http.MethodGet && query.Has("uploads"):
		b.list(w, query.Get("prefix"), query.Get("upload-id-marker"))
	case r.Method == http.MethodPost && query.Has("uploads"):
		b.ids++
		id = fmt.Sprintf("%06d/+ =", b.ids)
		b.uploads[id] = &pieces{object, time.Now(), map[int][]byte{}}
		fmt.Fprintf(w, `<InitiateMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Key>%s</Key><UploadId>%s</UploadId></InitiateMultipartUploadResult>`, object, id)
	case id != "" && (u == nil || u.object != object):
		refuse(w, http.StatusNotFound, "NoSuchUpload")
	case id != "" && r.Method == http.MethodPut:
		number, _ := strconv.Atoi(query.Get("partNumber"))
		u.data[number] = body
		w.Header().Set("ETag", fmt.Sprintf(`"<tag&%d>"`, number))
	case id != "" && r.Method == http.MethodPost:
		b.complete(w, id, u, body)
	case id != "" && r.Method == http.MethodDelete:
		delete(b.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		b.objects[object] = body
	case r.Method == http.MethodDelete:
		delete(b.objects, object)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodGet && b.objects[object] == nil:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	case r.Method == http.MethodGet:
		b.read(w, r, b.objects[object])
	default:
		b.t.Errorf("asked for %s %s", r.Method, r.URL)
	}
}

func (b *bucket) complete(w http.ResponseWriter, id string, u *pieces, body []byte) {
	var all struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.Unmarshal(body, &all); err != nil {
		b.t.Errorf("complete with %s: %v", body, err)
	}
	whole := []byte{}
	for i, part := range all.Part {
		if part.PartNumber != i+1 || part.ETag != fmt.Sprintf(`"<tag&%d>"`, i+1) {
			b.t.Errorf("piece %d: %+v", i+1, part)
		}
		whole = append(whole, u.data[i+1]...)
	}
	b.objects[u.object] = whole
	delete(b.uploads, id)
	// S3 keeps the connection alive with blanks, after the first line.
	fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?>`, "\n  \n", "<CompleteMultipartUploadResult><Location>x</Location></CompleteMultipartUploadResult>")
}

func (b *bucket) list(w http.ResponseWriter, prefix, after string) {
	type entry struct{ Key, UploadId, Initiated string } //nolint:revive,staticcheck // S3's names
	var answer struct {
		XMLName            xml.Name `xml:"ListMultipartUploadsResult"`
		IsTruncated        bool
		NextKeyMarker      string
		NextUploadIdMarker string //nolint:revive,staticcheck // S3's name
		Upload             []entry
	}
	for _, id := range slices.Sorted(maps.Keys(b.uploads)) {
		u := b.uploads[id]
		if !strings.HasPrefix(u.object, prefix) || cmp.Compare(id, after) <= 0 {
			continue
		}
		if answer.IsTruncated = len(answer.Upload) == b.page; answer.IsTruncated {
			break
		}
		answer.Upload = append(answer.Upload, entry{u.object, id, u.began.UTC().Format("2006-01-02T15:04:05.000Z")})
		answer.NextKeyMarker, answer.NextUploadIdMarker = u.object, id
	}
	text, err := xml.Marshal(answer)
	if err != nil {
		b.t.Error(err)
	}
	_, _ = w.Write(text) // to the test's own client
}

func (b *bucket) read(w http.ResponseWriter, r *http.Request, data []byte) {
	var first, last int
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
		b.t.Errorf("range %q: %v", r.Header.Get("Range"), err)
	}
	if first >= len(data) {
		refuse(w, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
		return
	}
	last = min(last, len(data)-1)
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(data)))
	w.Header().Set("Content-Length", strconv.Itoa(last-first+1))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(data[first : last+1]) // to the test's own client
}
