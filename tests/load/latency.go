package load

import (
	"math/bits"
	"time"
)

// Latencies is a histogram of durations: eight steps per power of two, so a percentile is right
// to an eighth. The zero value is empty.
type Latencies struct {
	counts [64 * 8]uint32
	total  int
}

// Add counts n durations of d.
func (l *Latencies) Add(d time.Duration, n int) {
	l.counts[step(d)] += uint32(n)
	l.total += n
}

// Percentile returns the duration that p percent are not above; 0 when there are none.
func (l *Latencies) Percentile(p float64) time.Duration {
	wanted := int(p / 100 * float64(l.total))
	for i, n := range l.counts {
		if wanted -= int(n); wanted < 0 || n > 0 && wanted == 0 {
			return upper(i)
		}
	}
	return 0
}

// Merge adds those of other.
func (l *Latencies) Merge(other *Latencies) {
	for i, n := range other.counts {
		l.counts[i] += n
	}
	l.total += other.total
}

// step is the bucket of d: its power of two and the three bits below the first.
func step(d time.Duration) int {
	n := uint64(max(d, 8))
	power := bits.Len64(n) - 1
	return power*8 + int(n>>(power-3)&7)
}

// upper is the end of bucket i.
func upper(i int) time.Duration {
	power := i / 8
	if power < 3 {
		return 8
	}
	return time.Duration(uint64(8+i%8+1) << (power - 3))
}
