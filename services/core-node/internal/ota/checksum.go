package ota

import (
	"crypto/md5" //nolint:gosec // devices ask for it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/sluice-iot/sluice/proto/fault"
)

// algorithms are the checksums there are, by the names devices know them by.
var algorithms = map[string]func() hash.Hash{
	"MD5":         md5.New,
	"SHA256":      sha256.New,
	"SHA384":      sha512.New384,
	"SHA512":      sha512.New,
	"CRC32":       func() hash.Hash { return littleEndian{crc32.NewIEEE()} },
	"MURMUR3_32":  func() hash.Hash { return newMurmur32() },
	"MURMUR3_128": func() hash.Hash { return newMurmur128() },
}

// newChecksum returns the hash of an algorithm; its sum in hexadecimal is the checksum.
func newChecksum(algorithm string) (hash.Hash, error) {
	if start := algorithms[algorithm]; start != nil {
		return start(), nil
	}
	return nil, fault.New(fault.Invalid, fmt.Sprintf("checksumAlgorithm: %q is unknown", algorithm))
}

// verify returns the sum's text, which is to be what was expected, if anything was.
func verify(sum []byte, expected string) (string, error) {
	got := hex.EncodeToString(sum)
	if expected = strings.ToLower(strings.TrimSpace(expected)); expected != "" && expected != got {
		return "", fault.New(fault.Invalid, "Wrong OTA package file: its checksum is "+got)
	}
	return got, nil
}

// littleEndian is a hash whose bytes devices expect the other way round.
type littleEndian struct{ hash.Hash }

// Sum implements hash.Hash.
func (l littleEndian) Sum(b []byte) []byte {
	sum := l.Hash.Sum(nil)
	slices.Reverse(sum)
	return append(b, sum...)
}
