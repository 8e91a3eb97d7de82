package pebble

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/sluice-iot/sluice/proto/telemetry"
)

var errValue = errors.New("malformed value")

// A stored value is rank, stamp, expiry if the kind says so, then the value itself. Rank and stamp
// decide between two writes of one key (merge). Rank is the time of latest values and attributes'
// updates; history rows, where the time is in the key, have none.
const (
	stampBytes  = 8
	rankBytes   = 8
	expiryBytes = 8
	expires     = 0x80 // flag beside the kind
	maxKind     = byte(telemetry.JSON)
)

func payloadBytes(v telemetry.Value) int {
	switch v.Kind {
	case telemetry.Bool:
		return 1
	case telemetry.Long, telemetry.Double:
		return 8
	}
	return len(v.Text())
}

// putValue fills b, of exactly the right length, with the kind, the expiry (0: none) and v.
func putValue(b []byte, v telemetry.Value, expiry int64) {
	b[0] = byte(v.Kind)
	p := b[1:]
	if expiry != 0 {
		b[0] |= expires
		binary.BigEndian.PutUint64(p, uint64(expiry))
		p = p[expiryBytes:]
	}
	switch v.Kind {
	case telemetry.Bool:
		p[0] = 0
		if v.Bool() {
			p[0] = 1
		}
	case telemetry.Long:
		binary.BigEndian.PutUint64(p, uint64(v.Long()))
	case telemetry.Double:
		binary.BigEndian.PutUint64(p, math.Float64bits(v.Double()))
	default:
		copy(p, v.Text())
	}
}

// readValue is putValue's inverse. Texts are copies.
func readValue(b []byte) (v telemetry.Value, expiry int64, err error) {
	if len(b) < 1 {
		return v, 0, errValue
	}
	kind, p := b[0], b[1:]
	if kind&expires != 0 {
		if len(p) < expiryBytes {
			return v, 0, errValue
		}
		expiry = int64(binary.BigEndian.Uint64(p))
		p = p[expiryBytes:]
		kind &^= expires
	}
	switch k := telemetry.Kind(kind); {
	case k == telemetry.Bool && len(p) == 1:
		v = telemetry.OfBool(p[0] == 1)
	case k == telemetry.Long && len(p) == 8:
		v = telemetry.OfLong(int64(binary.BigEndian.Uint64(p)))
	case k == telemetry.Double && len(p) == 8:
		v = telemetry.OfDouble(math.Float64frombits(binary.BigEndian.Uint64(p)))
	case k == telemetry.String:
		v = telemetry.OfString(string(p))
	case k == telemetry.JSON:
		v = telemetry.OfJSON(string(p))
	default:
		return v, 0, errValue
	}
	return v, expiry, nil
}

// sortable maps signed numbers to unsigned ones of the same order.
func sortable(n int64) uint64   { return uint64(n) ^ 1<<63 }
func unsortable(n uint64) int64 { return int64(n ^ 1<<63) }

// rankLength says how many bytes at the front of a value of key's table decide a merge: the
// greater wins. They are in big-endian, sortable form.
func rankLength(key []byte) int {
	switch key[0] {
	case tableHistory:
		return stampBytes
	case tableLatest:
		return rankBytes + stampBytes
	case tableAttributes:
		return stampBytes
	}
	return expiryBytes // tableDays: the latest expiry
}

// mergerName is in every file; it changes only with what a merge means.
const mergerName = "sluice.greater-rank-wins.1"

// merger lets two writes of one key meet in the store instead of in a read before the write: of
// two operands the one of greater rank stays, the newer on a tie. Writes are blind, replays
// harmless, and the order in which operands meet does not matter.
func merger() *pebble.Merger {
	winners := &sync.Pool{New: func() any { return new(winner) }} // one is needed for every row read or compacted
	return &pebble.Merger{Name: mergerName, Merge: func(key, value []byte) (pebble.ValueMerger, error) {
		n := rankLength(key)
		if len(value) < n {
			return nil, errValue
		}
		w := winners.Get().(*winner)
		w.pool, w.rank, w.value = winners, n, append(w.value[:0], value...)
		return w, nil
	}}
}

// winner is the best operand so far.
type winner struct {
	pool  *sync.Pool
	rank  int
	value []byte
}

// MergeNewer takes over a newer operand of no lesser rank.
func (w *winner) MergeNewer(value []byte) error { return w.meet(value, 0) }

// MergeOlder takes over an older operand of greater rank.
func (w *winner) MergeOlder(value []byte) error { return w.meet(value, 1) }

func (w *winner) meet(value []byte, least int) error {
	if len(value) < w.rank {
		return errValue
	}
	if bytes.Compare(value[:w.rank], w.value[:w.rank]) >= least {
		w.value = append(w.value[:0], value...)
	}
	return nil
}

// Finish returns the winner, which is valid until w is closed.
func (w *winner) Finish(bool) ([]byte, io.Closer, error) { return w.value, w, nil }

// keptValue is the largest value whose memory is kept for the next winner.
const keptValue = 4 << 10

// Close gives w back.
func (w *winner) Close() error {
	if cap(w.value) <= keptValue {
		w.pool.Put(w)
	}
	return nil
}
