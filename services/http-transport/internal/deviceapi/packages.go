package deviceapi

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/transport"
)

var (
	errTitle     = fault.New(fault.Invalid, "title and version are required")
	errOther     = errors.New("another package is assigned")
	errElsewhere = errors.New("the package is elsewhere")
)

// download answers GET firmware and GET software: the whole package or the range a client asks for, or, with size, one of its chunks.
func (q *request) download(kind sluicepb.PackageType) func(token string) error {
	return func(token string) error {
		parameters := q.r.URL.Query()
		title, version := parameters.Get("title"), parameters.Get("version")
		size, err := q.integer("size")
		if err != nil {
			return err
		}
		chunk, err := q.integer("chunk")
		if err != nil {
			return err
		}
		if title == "" || version == "" {
			return errTitle
		}
		d, err := q.authenticate(token)
		if err != nil {
			return err
		}
		p, err := q.a.platform.FindPackage(q.r.Context(), d, kind)
		switch {
		case fault.KindOf(err) == fault.NotFound && err != nil, err == nil && p.URL != "":
			return errElsewhere
		case err != nil:
			return err
		case p.Title != title || p.Version != version:
			return errOther
		}
		return q.send(p, size, chunk)
	}
}

// send sends a chunk of p, or all of it when size is 0.
func (q *request) send(p transport.Package, size, chunk int64) error {
	whole := &content{q: q, p: p, to: p.Size}
	if size > 0 {
		whole.from, whole.to = p.Size, p.Size
		if chunk < p.Size/size+1 {
			whole.from = min(chunk*size, p.Size)
			whole.to = min(whole.from+size, p.Size)
		}
		q.r.Header.Del("Range") // it would be of the chunk
	}
	if err := whole.begin(); err != nil {
		return err
	}
	header := q.w.Header()
	header.Set("Content-Type", "application/octet-stream")
	if p.ContentType != "" {
		header.Set("Content-Type", p.ContentType)
	}
	header.Set("Content-Disposition", "attachment;filename="+p.FileName)
	header.Set("x-filename", p.FileName)
	header.Set("ETag", strconv.Quote(p.ID.String()))
	http.ServeContent(q.w, q.r, "", time.Time{}, whole)
	return nil
}

// content is the bytes [from, to) of a package. It implements io.ReadSeeker.
type content struct {
	q        *request
	p        transport.Package
	from, to int64
	at       int64  // from from
	part     []byte // what was read and not yet taken
}

// partBytes is how much is read at a time.
const partBytes = 256 << 10

// begin reads the first part, so that what goes wrong is known before the answer has begun.
func (c *content) begin() (err error) {
	c.part, err = c.read()
	return err
}

// read reads what follows at, and lets the client take its time with it.
func (c *content) read() ([]byte, error) {
	offset := c.from + c.at
	if offset >= c.to {
		return nil, nil
	}
	c.q.mayTake(c.q.a.limits.PartTime)
	// To the end of the part that the platform reads, so that it reads none twice.
	length := min(c.to-offset, partBytes-offset%partBytes)
	return c.q.a.platform.ReadPackage(c.q.r.Context(), c.p, offset, length)
}

// Read implements io.Reader.
func (c *content) Read(into []byte) (int, error) {
	if len(c.part) == 0 {
		var err error
		if c.part, err = c.read(); err != nil {
			return 0, err
		}
		if len(c.part) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(into, c.part)
	c.part, c.at = c.part[n:], c.at+int64(n)
	return n, nil
}

// Seek implements io.Seeker.
func (c *content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.at
	case io.SeekEnd:
		offset += c.to - c.from
	}
	if offset != c.at {
		c.at, c.part = offset, nil
	}
	return offset, nil
}
