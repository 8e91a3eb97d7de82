// Package limit holds rate limits written the way tenants' settings write them,
// "capacity:seconds" pairs that all hold at once, as token buckets.
package limit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Rate is a list of windows that all hold. The zero Rate is unlimited.
type Rate []Window

// Window allows Capacity at once, refilled evenly over Period.
type Window struct {
	Capacity int64
	Period   time.Duration
}

// Parse reads "capacity:seconds[,capacity:seconds…]"; empty text is unlimited.
func Parse(text string) (Rate, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var r Rate
	for part := range strings.SplitSeq(text, ",") {
		w, err := parseWindow(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("rate limit %q: %w", text, err)
		}
		r = append(r, w)
	}
	return r, nil
}

// longest keeps Period × tokens far from overflow.
const longest = 366 * 24 * time.Hour

func parseWindow(text string) (Window, error) {
	capacity, seconds, found := strings.Cut(text, ":")
	if !found {
		return Window{}, errors.New("want capacity:seconds")
	}
	n, err := strconv.ParseInt(capacity, 10, 64)
	if err != nil || n <= 0 {
		return Window{}, fmt.Errorf("capacity %q is not a positive number", capacity)
	}
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || s <= 0 || s > int64(longest/time.Second) {
		return Window{}, fmt.Errorf("seconds %q is not a number from 1 to %d", seconds, int64(longest/time.Second))
	}
	return Window{Capacity: n, Period: time.Duration(s) * time.Second}, nil
}

// Bucket meters one Rate for one device or tenant. Safe for concurrent use. A nil Bucket is unlimited.
type Bucket struct {
	rate Rate

	mu     sync.Mutex
	tokens []float64
	last   time.Time

	// The rest is for a rate that several processes keep together; ledger is nil for all others.
	ledger *Ledger
	name   Name
	spent  float64 // since the ledger last took it
	listed bool    // in the ledger
}

// New returns a full bucket, nil when r is unlimited.
func New(r Rate, now time.Time) *Bucket {
	if len(r) == 0 {
		return nil
	}
	b := &Bucket{rate: r, tokens: make([]float64, len(r)), last: now}
	for i, w := range r {
		b.tokens[i] = float64(w.Capacity)
	}
	return b
}

// Take takes n tokens from every window, or from none and reports false. More than a
// window's whole capacity at once can never pass.
func (b *Bucket) Take(now time.Time, n int) bool {
	if b == nil || n == 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	for _, left := range b.tokens {
		if left < float64(n) {
			return false
		}
	}
	for i := range b.tokens {
		b.tokens[i] -= float64(n)
	}
	b.note(float64(n))
	return true
}

// Has reports whether Take would take n now.
func (b *Bucket) Has(now time.Time, n int) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	for _, left := range b.tokens {
		if left < float64(n) {
			return false
		}
	}
	return true
}

// Return puts back n tokens of an earlier Take whose purpose came to nothing.
func (b *Bucket) Return(n int) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, w := range b.rate {
		b.tokens[i] = min(float64(w.Capacity), b.tokens[i]+float64(n))
	}
	b.note(-float64(n))
}

func (b *Bucket) refill(now time.Time) {
	passed := now.Sub(b.last)
	if passed <= 0 {
		return
	}
	b.last = now
	for i, w := range b.rate {
		full := float64(w.Capacity)
		b.tokens[i] = min(full, b.tokens[i]+full*float64(passed)/float64(w.Period))
	}
}
