//go:build race

package sandbox

// limitData is off under the race detector, which maps more memory for itself than any script may have.
const limitData = false
