package secure

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
)

// The kinds of records (RFC 5246 §6.2.1, RFC 9146 §3), and where the parts of their header are (RFC 6347 §4.1, RFC 9146 §4).
const (
	typeChangeCipher = 20
	typeHandshake    = 22
	typeData         = 23
	typeCID          = 25

	versionAt, numberAt, cidAt = 1, 3, 11
	headerSize                 = 13
	version12                  = 0xfefd
)

// Numbers of records are their epoch, 16 bits, and their sequence number, 48 bits.
const (
	epochShift = 48
	lastNumber = 2<<epochShift - 1 // of epoch 1, the one that there is after a handshake
)

func numberOf(record []byte) uint64 { return binary.BigEndian.Uint64(record[numberAt:]) }

// cut splits the first record, whose id is of idSize bytes if it has one, from a datagram; false: there is no whole record.
func cut(datagram []byte, idSize int) (record, rest []byte, ok bool) {
	header := headerSize
	if len(datagram) > 0 && datagram[0] == typeCID {
		header += idSize
	}
	if len(datagram) < header {
		return nil, nil, false
	}
	end := header + int(binary.BigEndian.Uint16(datagram[header-2:]))
	if end > len(datagram) {
		return nil, nil, false
	}
	return datagram[:end:end], datagram[end:], true
}

// direction protects the records that go one way. One caller at a time.
type direction struct {
	aead cipher.AEAD
	iv   []byte
	cid  []byte // what the records carry (RFC 9146); nil: none

	nonce [nonceSize]byte // these two belong to the call in progress
	extra []byte
}

// seal appends content as a record of that kind and number. A number is used once.
func (d *direction) seal(to []byte, kind byte, number uint64, content []byte) []byte {
	size := len(content) + d.aead.Overhead()
	outer := kind
	if d.cid != nil {
		outer = typeCID
		size++
	}
	explicit := len(d.iv) == shortIV
	if explicit {
		size += explicitSize
	}
	start := len(to)
	to = append(to, outer, version12>>8, version12&0xff)
	to = binary.BigEndian.AppendUint64(to, number)
	to = append(to, d.cid...)
	to = binary.BigEndian.AppendUint16(to, uint16(size))
	d.prepare(to[start:])
	if explicit {
		to = binary.BigEndian.AppendUint64(to, number)
		copy(d.nonce[shortIV:], to[len(to)-explicitSize:])
	}
	body := len(to)
	to = append(to, content...)
	if d.cid != nil {
		to = append(to, kind)
	}
	d.extra = binary.BigEndian.AppendUint16(d.extra, uint16(len(to)-body))
	return d.aead.Seal(to[:body], d.nonce[:], to[body:], d.extra)
}

// open appends what a record holds to to; false: it is not the peer's. Nothing of record is changed.
func (d *direction) open(to, record []byte) (content []byte, kind byte, ok bool) {
	header := headerSize
	if d.cid != nil {
		header += len(d.cid)
	}
	if len(record) < header || (d.cid != nil) != (record[0] == typeCID) || d.cid != nil && !bytes.Equal(record[cidAt:header-2], d.cid) {
		return nil, 0, false
	}
	d.prepare(record)
	body := record[header:]
	if len(d.iv) == shortIV {
		if len(body) < explicitSize {
			return nil, 0, false
		}
		copy(d.nonce[shortIV:], body)
		body = body[explicitSize:]
	}
	if len(body) < d.aead.Overhead() {
		return nil, 0, false
	}
	d.extra = binary.BigEndian.AppendUint16(d.extra, uint16(len(body)-d.aead.Overhead()))
	content, err := d.aead.Open(to, d.nonce[:], body, d.extra)
	if err != nil {
		return nil, 0, false
	}
	if d.cid == nil {
		return content, record[0], true
	}
	content = bytes.TrimRight(content, "\x00") // padding
	if len(content) <= len(to) {
		return nil, 0, false
	}
	return content[:len(content)-1], content[len(content)-1], true
}

// prepare begins the nonce and the additional data (RFC 5246 §6.2.3.3, RFC 9146 §5.3) of the record with that header; what is missing is
// the part of the nonce that the record brings, and the length of what it holds.
func (d *direction) prepare(header []byte) {
	clear(d.nonce[:])
	copy(d.nonce[:], d.iv)
	if len(d.iv) == nonceSize {
		for i, b := range header[numberAt:cidAt] {
			d.nonce[shortIV+i] ^= b
		}
	}
	if d.cid == nil {
		d.extra = append(append(d.extra[:0], header[numberAt:cidAt]...), header[:numberAt]...)
		return
	}
	d.extra = append(d.extra[:0], 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, typeCID, byte(len(d.cid)), typeCID)
	d.extra = append(append(d.extra, header[versionAt:cidAt]...), d.cid...)
}

// window tells which records came already (RFC 6347 §4.1.2.6).
type window struct {
	next uint64 // after the highest that came
	came uint64 // bit i: next-1-i came
}

const windowSize = 64

// fresh reports whether number may be a record that did not come yet.
func (w *window) fresh(number uint64) bool {
	if number >= w.next {
		return true
	}
	back := w.next - 1 - number
	return back < windowSize && w.came>>back&1 == 0
}

// mark notes that number came, which was fresh; latest: none that is higher did.
func (w *window) mark(number uint64) (latest bool) {
	if number < w.next {
		w.came |= 1 << (w.next - 1 - number)
		return false
	}
	w.came = w.came<<(number+1-w.next) | 1 // nothing is left of it when that is 64 or more
	w.next = number + 1
	return true
}
