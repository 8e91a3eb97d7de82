package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/segmentio/kafka-go/compress"
)

// ErrCorrupt says that bytes are not the batches they should be.
var ErrCorrupt = errors.New("corrupt record batch")

const (
	attrCompression = 0x07
	attrControl     = 0x20
	// maxInflated bounds what a compressed batch may grow to.
	maxInflated = 64 << 20
)

// Record is one record of a Set. Key, Value and header values alias the Set's bytes.
type Record struct {
	Offset  int64
	TimeMS  int64
	Key     []byte
	Value   []byte
	Headers []Header
}

// Set reads the batches of a fetch response one record after the other. Brokers may start
// with a batch that began earlier than asked for and cut the last one short; both are handled here.
type Set struct {
	raw  []byte // batches not yet opened
	from int64  // records before this offset are passed over
	next int64  // the offset after the last batch that was opened

	records   []byte // what is left of the open batch
	left      int
	base      int64
	firstTime int64
	headers   []Header // slab that Headers slices are cut from
}

// NewSet reads raw, from offset from on. raw must not change as long as its records are in use.
func NewSet(raw []byte, from int64) *Set { return &Set{raw: raw, from: from, next: from} }

// Next fills r with the next record and reports whether there was one. After false the caller
// goes on at Offset.
func (s *Set) Next(r *Record) (bool, error) {
	for {
		for s.left > 0 {
			s.left--
			if err := s.readRecord(r); err != nil {
				return false, err
			}
			if r.Offset >= s.from {
				return true, nil
			}
		}
		opened, err := s.open()
		if !opened || err != nil {
			return false, err
		}
	}
}

// Offset returns the offset that follows all batches opened so far.
func (s *Set) Offset() int64 { return s.next }

// Left returns how many records of the batch being read are still to come.
func (s *Set) Left() int { return s.left }

// open starts on the next complete batch and reports whether there was one.
func (s *Set) open() (bool, error) {
	for len(s.raw) >= headerBytes {
		length := int64(int32(binary.BigEndian.Uint32(s.raw[posLength:])))
		if length < headerBytes-posEpoch {
			return false, fmt.Errorf("%w: a batch of %d bytes", ErrCorrupt, length)
		}
		if length > int64(len(s.raw)-posEpoch) {
			return false, nil // cut short by the fetch's size limit
		}
		batch := s.raw[:posEpoch+length]
		s.raw = s.raw[len(batch):]
		if batch[posMagic] != magic {
			return false, fmt.Errorf("%w: format version %d", ErrCorrupt, batch[posMagic])
		}
		if crc32.Checksum(batch[posAttrs:], castagnoli) != binary.BigEndian.Uint32(batch[posCRC:]) {
			return false, fmt.Errorf("%w: checksum does not match", ErrCorrupt)
		}
		if err := s.enter(batch); err != nil {
			return false, err
		}
		if s.left > 0 {
			return true, nil
		}
	}
	return false, nil
}

func (s *Set) enter(batch []byte) error {
	attrs := binary.BigEndian.Uint16(batch[posAttrs:])
	s.base = int64(binary.BigEndian.Uint64(batch))
	lastDelta := int64(int32(binary.BigEndian.Uint32(batch[posLastDelta:])))
	count := int(int32(binary.BigEndian.Uint32(batch[posCount:])))
	s.next = max(s.next, s.base+lastDelta+1)
	if attrs&attrControl != 0 || s.base+lastDelta < s.from {
		return nil
	}
	records := batch[headerBytes:]
	if attrs&attrCompression != 0 {
		inflated, err := inflate(compress.Compression(attrs&attrCompression), records)
		if err != nil {
			return err
		}
		records = inflated
	}
	if count < 0 || count > len(records) {
		return fmt.Errorf("%w: %d records in %d bytes", ErrCorrupt, count, len(records))
	}
	s.records, s.left = records, count
	s.firstTime = int64(binary.BigEndian.Uint64(batch[posFirstTime:]))
	return nil
}

func inflate(kind compress.Compression, raw []byte) ([]byte, error) {
	if int(kind) >= len(compress.Codecs) || kind.Codec() == nil {
		return nil, fmt.Errorf("%w: compression %d", ErrCorrupt, kind)
	}
	reader := kind.Codec().NewReader(bytes.NewReader(raw))
	inflated, err := io.ReadAll(io.LimitReader(reader, maxInflated+1))
	if err = errors.Join(err, reader.Close()); err != nil {
		return nil, fmt.Errorf("%w: inflate: %w", ErrCorrupt, err)
	}
	if len(inflated) > maxInflated {
		return nil, fmt.Errorf("%w: inflates to more than %d bytes", ErrCorrupt, maxInflated)
	}
	return inflated, nil
}

func (s *Set) readRecord(r *Record) error {
	var d decoder
	d.bytes = s.records
	size := d.varint()
	if size < 0 || size > int64(len(d.bytes)) {
		return fmt.Errorf("%w: a record of %d bytes", ErrCorrupt, size)
	}
	s.records = d.bytes[size:]
	d.bytes = d.bytes[:size]
	d.skip(1) // attributes
	r.TimeMS = s.firstTime + d.varint()
	r.Offset = s.base + d.varint()
	r.Key = d.sized()
	r.Value = d.sized()
	r.Headers = s.readHeaders(&d)
	if d.broken {
		return fmt.Errorf("%w: record at offset %d", ErrCorrupt, r.Offset)
	}
	return nil
}

func (s *Set) readHeaders(d *decoder) []Header {
	count := d.varint()
	if count == 0 || d.broken {
		return nil
	}
	if count < 0 || count > int64(len(d.bytes)) {
		d.broken = true
		return nil
	}
	if cap(s.headers)-len(s.headers) < int(count) {
		s.headers = make([]Header, 0, max(int(count), min(4*s.left, 1024)))
	}
	first := len(s.headers)
	for range count {
		key := d.sized()
		s.headers = append(s.headers, Header{Key: name(key), Value: d.sized()})
	}
	return s.headers[first:len(s.headers):len(s.headers)]
}

// name returns key as a string, without allocation for the names the bus itself uses.
func name(key []byte) string {
	switch string(key) {
	case "kind":
		return "kind"
	case Correlation:
		return Correlation
	case Budget:
		return Budget
	case Reply:
		return Reply
	case Presence:
		return Presence
	}
	return string(key)
}

// The headers of calls and answers.
const (
	Correlation = "correlation" // 8 bytes: chosen by the caller, repeated by the answer
	Budget      = "budget"      // 4 bytes: milliseconds the caller waits, from the record's time on
	Reply       = "reply"       // the topic that takes the answer; an answer has none
	Presence    = "presence"    // a process's sign of life in its own reply topic, alone
)

// decoder takes fields off the front of bytes; after the first that does not fit all are empty.
type decoder struct {
	bytes  []byte
	broken bool
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.bytes)
	if n <= 0 {
		d.broken, d.bytes = true, nil
		return 0
	}
	d.bytes = d.bytes[n:]
	return v
}

func (d *decoder) skip(n int) {
	if n > len(d.bytes) {
		d.broken, d.bytes = true, nil
		return
	}
	d.bytes = d.bytes[n:]
}

// sized takes a field that states its length; -1 is nil.
func (d *decoder) sized() []byte {
	n := d.varint()
	if n < 0 || d.broken {
		return nil
	}
	if n > int64(len(d.bytes)) {
		d.broken, d.bytes = true, nil
		return nil
	}
	field := d.bytes[:n:n]
	d.bytes = d.bytes[n:]
	return field
}
