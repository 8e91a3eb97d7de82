package ota

import (
	"encoding/binary"
	"math/bits"
)

// blocks cuts what is written into blocks of one size.
type blocks struct {
	rest []byte // less than a block
	size int
	mix  func(block []byte)
	all  uint64 // bytes written
}

// Write implements io.Writer; it never fails.
func (b *blocks) Write(p []byte) (int, error) {
	n := len(p)
	b.all += uint64(n)
	if len(b.rest) > 0 {
		more := min(b.size-len(b.rest), len(p))
		b.rest = append(b.rest, p[:more]...)
		if p = p[more:]; len(b.rest) < b.size {
			return n, nil
		}
		b.mix(b.rest)
		b.rest = b.rest[:0]
	}
	for ; len(p) >= b.size; p = p[b.size:] {
		b.mix(p[:b.size])
	}
	b.rest = append(b.rest, p...)
	return n, nil
}

// murmur32 is MurmurHash3 x86_32 with seed 0, its sum in little endian.
type murmur32 struct {
	blocks
	h uint32
}

const (
	murmur32c1 = 0xcc9e2d51
	murmur32c2 = 0x1b873593
)

func newMurmur32() *murmur32 {
	m := &murmur32{}
	m.Reset()
	return m
}

// Reset implements hash.Hash.
func (m *murmur32) Reset() {
	*m = murmur32{blocks: blocks{size: 4}}
	m.mix = func(block []byte) {
		m.h ^= scramble32(binary.LittleEndian.Uint32(block))
		m.h = bits.RotateLeft32(m.h, 13)*5 + 0xe6546b64
	}
}

func scramble32(k uint32) uint32 { return bits.RotateLeft32(k*murmur32c1, 15) * murmur32c2 }

// Size implements hash.Hash.
func (m *murmur32) Size() int { return 4 }

// BlockSize implements hash.Hash.
func (m *murmur32) BlockSize() int { return 4 }

// Sum implements hash.Hash.
func (m *murmur32) Sum(b []byte) []byte {
	var tail [4]byte
	copy(tail[:], m.rest)
	h := m.h ^ scramble32(binary.LittleEndian.Uint32(tail[:])) // of nothing it is 0
	h ^= uint32(m.all)
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return binary.LittleEndian.AppendUint32(b, h^h>>16)
}

// murmur128 is MurmurHash3 x64_128 with seed 0, its two halves in little endian.
type murmur128 struct {
	blocks
	h1, h2 uint64
}

const (
	murmur128c1 = 0x87c37b91114253d5
	murmur128c2 = 0x4cf5ad432745937f
)

func newMurmur128() *murmur128 {
	m := &murmur128{}
	m.Reset()
	return m
}

// Reset implements hash.Hash.
func (m *murmur128) Reset() {
	*m = murmur128{blocks: blocks{size: 16}}
	m.mix = func(block []byte) {
		m.h1 ^= scrambleFirst(binary.LittleEndian.Uint64(block))
		m.h1 = (bits.RotateLeft64(m.h1, 27)+m.h2)*5 + 0x52dce729
		m.h2 ^= scrambleSecond(binary.LittleEndian.Uint64(block[8:]))
		m.h2 = (bits.RotateLeft64(m.h2, 31)+m.h1)*5 + 0x38495ab5
	}
}

func scrambleFirst(k uint64) uint64  { return bits.RotateLeft64(k*murmur128c1, 31) * murmur128c2 }
func scrambleSecond(k uint64) uint64 { return bits.RotateLeft64(k*murmur128c2, 33) * murmur128c1 }

// Size implements hash.Hash.
func (m *murmur128) Size() int { return 16 }

// BlockSize implements hash.Hash.
func (m *murmur128) BlockSize() int { return 16 }

// Sum implements hash.Hash.
func (m *murmur128) Sum(b []byte) []byte {
	var tail [16]byte
	copy(tail[:], m.rest)
	h1 := m.h1 ^ scrambleFirst(binary.LittleEndian.Uint64(tail[:])) ^ m.all
	h2 := m.h2 ^ scrambleSecond(binary.LittleEndian.Uint64(tail[8:])) ^ m.all
	h1 += h2
	h2 += h1
	h1, h2 = finish64(h1), finish64(h2)
	h1 += h2
	h2 += h1
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, h1), h2)
}

func finish64(k uint64) uint64 {
	k = (k ^ k>>33) * 0xff51afd7ed558ccd
	k = (k ^ k>>33) * 0xc4ceb9fe1a85ec53
	return k ^ k>>33
}
