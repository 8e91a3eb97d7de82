package ota

import (
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/sluice-iot/sluice/proto/fault"
)

const fox = "The quick brown fox jumps over the lazy dog"

// TestChecksums holds each algorithm to published values, in the byte order device SDKs compare with.
func TestChecksums(t *testing.T) {
	for _, c := range []struct{ algorithm, data, want string }{
		{"MD5", fox, "9e107d9d372bb6826bd81d3542a419d6"},
		{"SHA256", fox, "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592"},
		{"SHA384", "", "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b"},
		{"SHA512", "", "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"},
		{"CRC32", fox, "39a34f41"},                                   // 0x414fa339
		{"MURMUR3_32", "", "00000000"},                               //
		{"MURMUR3_32", "hello", "47fa8b24"},                          // 0x248bfa47
		{"MURMUR3_32", fox, "23f74f2e"},                              // 0x2e4ff723
		{"MURMUR3_128", "", "00000000000000000000000000000000"},      //
		{"MURMUR3_128", "hello", "029bbd41b3a7d8cb191dae486a901e5b"}, // 0xcbd8a7b341bd9b02 0x5b1e906a48ae1d19
		{"MURMUR3_128", fox, "6c1b07bc7bbc4be347939ac4a93c437a"},     // 0xe34bbc7bbc071b6c 0x7a433ca9c49a9347
	} {
		h, err := newChecksum(c.algorithm)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Write([]byte(c.data)); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != c.want {
			t.Errorf("%s of %q: %s, want %s", c.algorithm, c.data, got, c.want)
		}
	}
	if _, err := newChecksum("SHA1"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an unknown algorithm: %v", err)
	}
}

// FuzzChecksumsDoNotDependOnPieces: however the data comes, the sum is the same; and after Reset.
func FuzzChecksumsDoNotDependOnPieces(f *testing.F) {
	f.Add([]byte(fox), uint64(1))
	f.Add([]byte{}, uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		random := rand.New(rand.NewPCG(seed, seed))
		for name, start := range algorithms {
			whole, pieces := start(), start()
			_, _ = whole.Write(data)
			for rest := data; len(rest) > 0; {
				n := 1 + random.IntN(len(rest))
				_, _ = pieces.Write(rest[:n])
				rest = rest[n:]
			}
			want := hex.EncodeToString(whole.Sum(nil))
			if got := hex.EncodeToString(pieces.Sum(nil)); got != want {
				t.Errorf("%s: %s in pieces, %s whole", name, got, want)
			}
			if len(want) != 2*whole.Size() {
				t.Errorf("%s: a sum of %d digits, of size %d", name, len(want), whole.Size())
			}
			pieces.Reset()
			_, _ = pieces.Write(data)
			if got := hex.EncodeToString(pieces.Sum(nil)); got != want {
				t.Errorf("%s: %s after a reset, %s before", name, got, want)
			}
		}
	})
}
