package pebble

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Every key starts with the byte of its table. Parts follow in an order-preserving form, so that
// what is read together lies together; DESIGN.md shows them side by side.
const (
	tableHistory    = 'h' // entity day key millisecond → value
	tableDays       = 'd' // entity day → expiry: the days an entity has history of
	tableExpiry     = 'x' // expiry entity day: when to look at a day again
	tableLatest     = 'l' // entity key → value
	tableAttributes = 'a' // entity scope key → value
	tableDocuments  = 'e' // tenant type id → document
	tableClaims     = 'u' // claim → tenant type id
	tableRows       = 'r' // group key → expiry, body
	tableRowExpiry  = 'y' // expiry, key of tableRows: when to look at a row again
)

const (
	entityBytes = 1 + 16
	dayBytes    = 5
	timeBytes   = 4
	dayMillis   = 24 * 60 * 60 * 1000
	// dayBias makes the number of the earliest day there can be positive: 2^63 ms are fewer than 2^37 days.
	dayBias = 1 << 38
)

var errKey = errors.New("malformed key")

// day is a day's number, counted from the epoch, plus dayBias.
type day uint64

// split returns the day ms belongs to and the milliseconds into it.
func split(ms int64) (day, uint32) {
	d, rest := ms/dayMillis, ms%dayMillis
	if rest < 0 {
		d, rest = d-1, rest+dayMillis
	}
	return day(d + dayBias), uint32(rest)
}

// join is split's inverse.
func join(d day, rest uint32) int64 { return (int64(d)-dayBias)*dayMillis + int64(rest) }

func appendEntity(b []byte, table byte, e ident.EntityID) []byte {
	b = append(b, table, byte(e.Type))
	return append(b, e.ID[:]...)
}

func appendDay(b []byte, d day) []byte {
	return append(b, byte(d>>32), byte(d>>24), byte(d>>16), byte(d>>8), byte(d))
}

func readDay(b []byte) day {
	return day(b[0])<<32 | day(binary.BigEndian.Uint32(b[1:]))
}

// A key of the device's follows in its own bytes and ends in 0x00 0x01; a 0x00 within is written
// as 0x00 0xFF. So keys sort as their texts do, and none is the beginning of another.
const (
	escape     = 0x00
	escaped    = 0xFF
	terminator = 0x01
)

func appendName(b []byte, name string) []byte {
	if strings.IndexByte(name, escape) < 0 {
		b = append(b, name...)
		return append(b, escape, terminator)
	}
	for i := range len(name) {
		b = append(b, name[i])
		if name[i] == escape {
			b = append(b, escaped)
		}
	}
	return append(b, escape, terminator)
}

// readName returns the name b starts with and what follows it.
func readName(b []byte) (name string, rest []byte, err error) {
	var unescaped []byte
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], escape)
		if i < 0 || from+i+1 >= len(b) {
			return "", nil, errKey
		}
		i += from
		switch b[i+1] {
		case terminator:
			if unescaped == nil {
				return string(b[:i]), b[i+2:], nil
			}
			return string(append(unescaped, b[from:i]...)), b[i+2:], nil
		case escaped:
			unescaped = append(unescaped, b[from:i+1]...)
			from = i + 2
		default:
			return "", nil, errKey
		}
	}
}

func appendHistory(b []byte, e ident.EntityID, d day, name string, rest uint32) []byte {
	b = appendName(appendDay(appendEntity(b, tableHistory, e), d), name)
	return binary.BigEndian.AppendUint32(b, rest)
}

// readHistory returns the time of a history row of a known series.
func readHistory(key []byte) (int64, error) {
	if len(key) < 1+entityBytes+dayBytes+2+timeBytes {
		return 0, errKey
	}
	return join(readDay(key[1+entityBytes:]), binary.BigEndian.Uint32(key[len(key)-timeBytes:])), nil
}

func appendLatest(b []byte, e ident.EntityID, name string) []byte {
	return appendName(appendEntity(b, tableLatest, e), name)
}

func appendAttribute(b []byte, e ident.EntityID, scope storage.Scope, name string) []byte {
	return appendName(append(appendEntity(b, tableAttributes, e), byte(scope)), name)
}

func appendExpiry(b []byte, expiry int64, e ident.EntityID, d day) []byte {
	b = binary.BigEndian.AppendUint64(append(b, tableExpiry), uint64(expiry))
	b = append(append(b, byte(e.Type)), e.ID[:]...)
	return appendDay(b, d)
}

// readExpiry is appendExpiry's inverse.
func readExpiry(key []byte) (expiry int64, e ident.EntityID, d day, err error) {
	if len(key) != 1+8+entityBytes+dayBytes {
		return 0, e, 0, errKey
	}
	expiry = int64(binary.BigEndian.Uint64(key[1:]))
	e.Type = ident.EntityType(key[9])
	copy(e.ID[:], key[10:])
	return expiry, e, readDay(key[9+entityBytes:]), nil
}

func appendDocument(b []byte, tenant ident.TenantID, e ident.EntityID) []byte {
	b = append(append(b, tableDocuments), tenant.ID[:]...)
	b = append(b, byte(e.Type))
	return append(b, e.ID[:]...)
}

func claimKey(claim string) []byte { return append([]byte{tableClaims}, claim...) }

// after returns the first key behind all that start with prefix.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil // prefix is all 0xFF: no key of ours
}
