// Package pipe is what goes between an executor and the processes that run its scripts: texts behind their length.
package pipe

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxBytes is the longest text.
const MaxBytes = 16 << 20

// ErrTooLong says that a text is longer than any can be: whoever wrote it is not to be trusted.
var ErrTooLong = errors.New("longer than any message can be")

// head is the length of a length.
const head = 4

// Write writes one text, in one piece if w takes it so.
func Write(w io.Writer, text []byte) error {
	b := make([]byte, head, head+len(text))
	binary.BigEndian.PutUint32(b, uint32(len(text)))
	_, err := w.Write(append(b, text...))
	return err
}

// Begin starts a text in b, which is empty; End completes it for a Write of the whole of b.
func Begin(b []byte) []byte { return append(b[:0], 0, 0, 0, 0) }

// End puts the length before a text that began with Begin.
func End(b []byte) []byte {
	binary.BigEndian.PutUint32(b, uint32(len(b)-head))
	return b
}

// Empty reports whether nothing was added since Begin.
func Empty(b []byte) bool { return len(b) <= head }

// Read returns the next text, which belongs to the caller. io.EOF means that there is none.
func Read(r *bufio.Reader) ([]byte, error) {
	var size [head]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > MaxBytes {
		return nil, fmt.Errorf("read %d bytes: %w", n, ErrTooLong)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, fmt.Errorf("read %d bytes: %w", n, err)
	}
	return text, nil
}
