package cassandra

import (
	"bytes"
	"math"
	"testing"

	"github.com/sluice-iot/sluice/proto/telemetry"
)

func FuzzReadValue(f *testing.F) {
	for _, v := range []telemetry.Value{telemetry.OfBool(true), telemetry.OfLong(-1), telemetry.OfDouble(0.5), telemetry.OfString(""), telemetry.OfJSON("{}")} {
		f.Add(appendValue(nil, v, 0))
		f.Add(appendValue(nil, v, math.MaxInt64))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, expiry, err := readValue(b)
		if err != nil {
			return
		}
		again, until, err := readValue(appendValue(nil, v, expiry))
		if err != nil || again != v || until != expiry {
			t.Errorf("%v until %d comes back as %v until %d, %v", v, expiry, again, until, err)
		}
	})
}

func FuzzDecodeClaims(f *testing.F) {
	f.Add(encodeClaims([]string{"", "a"}, map[string][]byte{"": make([]byte, ticketBytes), "a": bytes.Repeat([]byte{1}, ticketBytes)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		claims, tickets, err := decodeClaims(b)
		if err != nil {
			return
		}
		again, _, err := decodeClaims(encodeClaims(claims, tickets))
		if err != nil || len(again) != len(claims) {
			t.Errorf("%q comes back as %q, %v", claims, again, err)
		}
	})
}

// TestLatestOrder holds the cells of latest values to the contract by Cassandra's own rule: the larger
// timestamp stays, of equal ones the larger bytes.
func TestLatestOrder(t *testing.T) {
	ends := []int64{math.MinInt64, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64}
	for _, a := range ends {
		for _, b := range ends {
			for _, stamps := range [][2]int64{{1, 2}, {2, 1}, {-1, 1}} {
				wins := a > b || a == b && stamps[0] > stamps[1]
				one := appendLatest(nil, a, stamps[0], telemetry.OfLong(0))
				other := appendLatest(nil, b, stamps[1], telemetry.OfLong(9))
				stays := timestampOf(a) > timestampOf(b) || timestampOf(a) == timestampOf(b) && bytes.Compare(one, other) > 0
				if stays != wins {
					t.Errorf("time %d stamp %d beside time %d stamp %d: stays is %v", a, stamps[0], b, stamps[1], stays)
				}
			}
		}
		if timestampOf(a) == math.MinInt64 || timestampOf(a) == overAll {
			t.Errorf("time %d has a timestamp that is not its own to have", a)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, at := range []int64{math.MinInt64, -dayMillis - 1, -dayMillis, -1, 0, dayMillis - 1, dayMillis, math.MaxInt64} {
		day, rest := split(at)
		if rest < 0 || rest >= dayMillis || join(day, rest) != at {
			t.Errorf("%d is day %d and %d", at, day, rest)
		}
	}
}
