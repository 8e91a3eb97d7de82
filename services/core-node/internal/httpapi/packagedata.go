package httpapi

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/ota"
)

// maxField is the longest value of a form that is no file.
const maxField = 1024

// uploadPackage takes the data of a package on as it comes: a form whose part "file" is the data. The checksum is told by the query, or by
// fields of the form before it.
func (a *api) uploadPackage(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.onePackage(r, p)
	if err != nil {
		return nil, err
	}
	form, err := r.MultipartReader()
	if err != nil {
		return nil, fault.New(fault.Invalid, "Content type isn't supported: multipart/form-data is")
	}
	query := r.URL.Query()
	upload := ota.Upload{Algorithm: query.Get("checksumAlgorithm"), Checksum: query.Get("checksum")}
	part, err := filePart(form, &upload)
	if err != nil {
		return nil, err
	}
	if upload.Algorithm == "" {
		return nil, invalid("checksumAlgorithm", "is required")
	}
	upload.FileName, upload.ContentType = fileName(part.FileName()), part.Header.Get("Content-Type")
	upload.Data = &atMost{part, a.Packages.Settings().MaxBytes, a.Packages.Settings().MaxBytes}
	complete, err := a.Packages.Upload(r.Context(), p.Tenant, found.ID, upload)
	if err != nil {
		return nil, formError(err)
	}
	return packageView(complete), nil
}

// filePart returns the part that is the file, and reads the fields before it into u.
func filePart(form *multipart.Reader, u *ota.Upload) (*multipart.Part, error) {
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, invalid("file", "is required")
		}
		if err != nil {
			return nil, bodyError(err)
		}
		var field *string
		switch part.FormName() {
		case "file":
			return part, nil
		case "checksumAlgorithm":
			field = &u.Algorithm
		case "checksum":
			field = &u.Checksum
		default:
			continue
		}
		value, err := io.ReadAll(io.LimitReader(part, maxField+1))
		if err != nil {
			return nil, bodyError(err)
		}
		if len(value) > maxField {
			return nil, invalid(part.FormName(), "is too long")
		}
		*field = string(value)
	}
}

// formError tells a form that cannot be read from what else befell an upload.
func formError(err error) error {
	var own *fault.Error
	var large *http.MaxBytesError
	if errors.As(err, &own) || errors.As(err, &large) || !errors.Is(err, errForm) {
		return err
	}
	return fault.Wrap(fault.Invalid, "request body cannot be read", err)
}

// errForm marks an error of reading a form.
var errForm = errors.New("read the form")

// atMost reads up to most bytes; more are a body too large.
type atMost struct {
	from       io.Reader
	left, most int64
}

// Read implements io.Reader.
func (a *atMost) Read(p []byte) (int, error) {
	n, err := a.from.Read(p)
	if a.left -= int64(n); a.left < 0 {
		return 0, &http.MaxBytesError{Limit: a.most}
	}
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.Join(errForm, err)
	}
	return n, err
}

// fileName is what of a name given may stand in a header: no folders, nothing that is not printed.
func fileName(given string) string {
	given = given[strings.LastIndexAny(given, `/\`)+1:]
	name := strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) || c == unicode.ReplacementChar {
			return -1
		}
		return c
	}, given)
	if runes := []rune(name); len(runes) > 255 {
		name = string(runes[:255])
	}
	return name
}

// file is an answer that is downloaded.
type file struct {
	name, contentType, tag string
	modified               time.Time
	content                io.ReadSeeker
}

func (a *api) downloadPackage(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.onePackage(r, p)
	if err != nil {
		return nil, err
	}
	if found.URL != "" {
		return nil, fault.New(fault.Invalid, "OTA package has a URL: its data is there")
	}
	if !found.Data.Here() {
		return nil, fault.New(fault.NotFound, "OTA package has no data!")
	}
	data := found.Data
	return file{
		name: data.FileName, contentType: data.ContentType, tag: `"` + data.ChecksumAlgorithm + "-" + data.Checksum + `"`,
		modified: time.UnixMilli(found.CreatedTime), content: a.Packages.Open(r.Context(), found),
	}, nil
}

// sendFile answers with a file, or the ranges of it that are asked for.
func (a *api) sendFile(w http.ResponseWriter, r *http.Request, f file) int {
	header := w.Header()
	if f.contentType == "" {
		f.contentType = "application/octet-stream"
	}
	header.Set("Content-Type", f.contentType)
	header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.name}))
	header.Set("x-filename", f.name)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("ETag", f.tag)
	answered := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	http.ServeContent(answered, r, f.name, f.modified, f.content)
	return answered.status
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
