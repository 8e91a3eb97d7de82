// Package record is the format records have on the wire and in the log: the version 2 record
// batch (https://kafka.apache.org/documentation/#recordbatch). Batches are built directly from what a
// publisher hands over and read without copying, since every message passes here twice.
package record

import (
	"encoding/binary"
	"hash/crc32"
)

// Header is one named value beside a record.
type Header struct {
	Key   string
	Value []byte
}

// The fields of a batch's header by position.
const (
	posLength    = 8
	posEpoch     = 12
	posMagic     = 16
	posCRC       = 17
	posAttrs     = 21
	posLastDelta = 23
	posFirstTime = 27
	posMaxTime   = 35
	posProducer  = 43
	posCount     = 57
	headerBytes  = 61

	magic = 2
)

// Overhead is how much larger than its records a batch is, in bytes.
const Overhead = headerBytes

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is a batch being built. The zero value is empty and ready. It is not safe for
// concurrent use.
type Batch struct {
	buf       []byte
	count     int
	firstTime int64
	maxTime   int64
}

// Size returns how many bytes a record takes at most.
func Size(key, value []byte, headers []Header) int {
	n := 5*binary.MaxVarintLen32 + 1 + binary.MaxVarintLen64 + len(key) + len(value)
	for i := range headers {
		n += 2*binary.MaxVarintLen32 + len(headers[i].Key) + len(headers[i].Value)
	}
	return n
}

// Append adds a record; key, value and headers are copied. timeMS is in milliseconds since 1970.
func (b *Batch) Append(key, value []byte, headers []Header, timeMS int64) {
	if b.count == 0 {
		b.buf = append(b.buf[:0], make([]byte, headerBytes)...)
		b.firstTime, b.maxTime = timeMS, timeMS
	}
	b.maxTime = max(b.maxTime, timeMS)
	timeDelta, offsetDelta := timeMS-b.firstTime, int64(b.count)

	body := 1 + varintLen(timeDelta) + varintLen(offsetDelta) +
		bytesLen(key) + bytesLen(value) + varintLen(int64(len(headers)))
	for i := range headers {
		body += varintLen(int64(len(headers[i].Key))) + len(headers[i].Key) + bytesLen(headers[i].Value)
	}
	buf := binary.AppendVarint(b.buf, int64(body))
	buf = append(buf, 0) // attributes: none are defined
	buf = binary.AppendVarint(buf, timeDelta)
	buf = binary.AppendVarint(buf, offsetDelta)
	buf = appendBytes(buf, key)
	buf = appendBytes(buf, value)
	buf = binary.AppendVarint(buf, int64(len(headers)))
	for i := range headers {
		buf = binary.AppendVarint(buf, int64(len(headers[i].Key)))
		buf = append(buf, headers[i].Key...)
		buf = appendBytes(buf, headers[i].Value)
	}
	b.buf = buf
	b.count++
}

// Len returns the batch's present size in bytes, 0 when it is empty.
func (b *Batch) Len() int {
	if b.count == 0 {
		return 0
	}
	return len(b.buf)
}

// Count returns how many records the batch has.
func (b *Batch) Count() int { return b.count }

// Seal completes the batch's header and returns the batch as it goes on the wire. The bytes
// belong to b: they are valid until Reset.
func (b *Batch) Seal() []byte {
	h := b.buf
	binary.BigEndian.PutUint64(h, 0) // the broker assigns offsets
	binary.BigEndian.PutUint32(h[posLength:], uint32(len(h)-posEpoch))
	binary.BigEndian.PutUint32(h[posEpoch:], 0xffffffff)
	h[posMagic] = magic
	binary.BigEndian.PutUint16(h[posAttrs:], 0)
	binary.BigEndian.PutUint32(h[posLastDelta:], uint32(b.count-1))
	binary.BigEndian.PutUint64(h[posFirstTime:], uint64(b.firstTime))
	binary.BigEndian.PutUint64(h[posMaxTime:], uint64(b.maxTime))
	for i := posProducer; i < posCount; i++ { // producer id, epoch and sequence: -1, not idempotent
		h[i] = 0xff
	}
	binary.BigEndian.PutUint32(h[posCount:], uint32(b.count))
	binary.BigEndian.PutUint32(h[posCRC:], crc32.Checksum(h[posAttrs:], castagnoli))
	return h
}

// Reset empties b and keeps its memory, unless that is more than keep bytes.
func (b *Batch) Reset(keep int) {
	b.count = 0
	if cap(b.buf) > keep {
		b.buf = nil
	}
	b.buf = b.buf[:0]
}

func appendBytes(buf, value []byte) []byte {
	if value == nil {
		return binary.AppendVarint(buf, -1)
	}
	buf = binary.AppendVarint(buf, int64(len(value)))
	return append(buf, value...)
}

func bytesLen(value []byte) int {
	if value == nil {
		return 1
	}
	return varintLen(int64(len(value))) + len(value)
}

func varintLen(v int64) int {
	n := 1
	for u := uint64(v<<1) ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
