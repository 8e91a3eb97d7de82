package ota

import (
	"context"
	"errors"
	"io"

	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// contentBlock is how much of a package is read, and held, at once.
const contentBlock = 1 << 20

// Content reads the data of a package from beginning to end, or from wherever it is told; io.Seeker's errors come of offsets below 0. Not
// safe for concurrent use.
type Content struct {
	ctx     context.Context //nolint:containedctx // that of the one request it is for
	library *Library
	data    entity.PackageData
	at      int64
	block   []byte // of the data from start on
	start   int64
}

var _ io.ReadSeeker = (*Content)(nil)

// Open returns the data of p, which has some here. What is read is read until ctx ends.
func (l *Library) Open(ctx context.Context, p entity.Package) *Content {
	return &Content{ctx: ctx, library: l, data: p.Data}
}

// Read implements io.Reader.
func (c *Content) Read(p []byte) (int, error) {
	if c.at >= c.data.Size {
		return 0, io.EOF
	}
	if c.at < c.start || c.at >= c.start+int64(len(c.block)) {
		block, err := c.library.read(c.ctx, c.data, c.at, contentBlock)
		if err != nil {
			return 0, err
		}
		c.block, c.start = block, c.at
	}
	n := copy(p, c.block[c.at-c.start:])
	c.at += int64(n)
	return n, nil
}

var errSeek = errors.New("ota: seek before the beginning")

// Seek implements io.Seeker.
func (c *Content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.at
	case io.SeekEnd:
		offset += c.data.Size
	}
	if offset < 0 {
		return c.at, errSeek
	}
	c.at = offset
	return offset, nil
}
