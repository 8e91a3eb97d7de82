//go:build !fleet

package system

import (
	"context"
	"testing"
)

// partitions is the standard number of each owned topic's.
const partitions = 2

// newPlatform is what a scenario runs on; Start starts it.
func newPlatform(_ context.Context, t *testing.T, flags ...string) Platform {
	t.Helper()
	return NewStandalone(t, flags...)
}

// endParts has nothing to end: a standalone brings all it needs.
func endParts() error { return nil }
