//go:build !race

package sandbox

// limitData says that memory is limited.
const limitData = true
