package cassandra

import (
	"encoding/binary"
	"errors"
	"math"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

var errValue = errors.New("malformed value")

const (
	dayMillis   = 24 * 60 * 60 * 1000
	entityBytes = 17
	timeBytes   = 8
	stampBytes  = 8
	expires     = 0x80 // flag beside the kind
	maxKind     = byte(telemetry.JSON)
)

// bound is a value in the form Cassandra takes it, for one bind marker. The driver then neither
// converts nor copies it.
type bound []byte

// MarshalCQL returns the value as it is.
func (b *bound) MarshalCQL(gocql.TypeInfo) ([]byte, error) { return *b, nil }

func appendEntity(b []byte, e ident.EntityID) []byte {
	return append(append(b, byte(e.Type)), e.ID[:]...)
}

// split returns the number of the day that time belongs to and the millisecond within it.
func split(time int64) (day int64, rest int32) {
	day = time / dayMillis
	if time%dayMillis < 0 {
		day--
	}
	return day, int32(time - day*dayMillis)
}

// join is split's inverse.
func join(day int64, rest int32) int64 { return day*dayMillis + int64(rest) }

// sortable maps signed numbers to unsigned ones of the same order.
func sortable(n int64) uint64   { return uint64(n) ^ 1<<63 }
func unsortable(n uint64) int64 { return int64(n ^ 1<<63) }

// appendValue appends kind, expiry (0: none) and value.
func appendValue(b []byte, v telemetry.Value, expiry int64) []byte {
	kind := byte(v.Kind)
	if expiry != 0 {
		b = binary.BigEndian.AppendUint64(append(b, kind|expires), uint64(expiry))
	} else {
		b = append(b, kind)
	}
	switch v.Kind {
	case telemetry.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case telemetry.Long:
		return binary.BigEndian.AppendUint64(b, uint64(v.Long()))
	case telemetry.Double:
		return binary.BigEndian.AppendUint64(b, math.Float64bits(v.Double()))
	}
	return append(b, v.Text()...)
}

// readValue is appendValue's inverse. Texts are copies.
func readValue(b []byte) (v telemetry.Value, expiry int64, err error) {
	if len(b) < 1 {
		return v, 0, errValue
	}
	kind, p := b[0], b[1:]
	if kind&expires != 0 {
		if len(p) < timeBytes {
			return v, 0, errValue
		}
		expiry = int64(binary.BigEndian.Uint64(p))
		p = p[timeBytes:]
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

// appendLatest appends a latest value's cell. Cassandra keeps the cell of the larger timestamp, here the
// time of the reading (timestampOf), and of two with one timestamp the one whose bytes sort last: so time and
// stamp come first.
func appendLatest(b []byte, time, stamp int64, v telemetry.Value) []byte {
	b = binary.BigEndian.AppendUint64(b, sortable(time))
	b = binary.BigEndian.AppendUint64(b, sortable(stamp))
	return appendValue(b, v, 0)
}

// timestampOf makes a cell's timestamp of a latest value's time: Cassandra keeps the least number for
// itself, and the greatest is the deletes'.
func timestampOf(time int64) int64 { return min(max(time, math.MinInt64+1), overAll-1) }

// overAll is the timestamp of what no reading's time is above.
const overAll = math.MaxInt64

func readLatest(b []byte) (v telemetry.Value, time int64, err error) {
	if len(b) < timeBytes+stampBytes {
		return v, 0, errValue
	}
	v, _, err = readValue(b[timeBytes+stampBytes:])
	return v, unsortable(binary.BigEndian.Uint64(b)), err
}

// appendAttribute appends an attribute's cell, whose timestamp is the stamp.
func appendAttribute(b []byte, time int64, v telemetry.Value) []byte {
	return appendValue(binary.BigEndian.AppendUint64(b, sortable(time)), v, 0)
}

func readAttribute(b []byte) (v telemetry.Value, time int64, err error) {
	if len(b) < timeBytes {
		return v, 0, errValue
	}
	v, _, err = readValue(b[timeBytes:])
	return v, unsortable(binary.BigEndian.Uint64(b)), err
}
