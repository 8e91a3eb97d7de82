//go:build !fleet

package system

import (
	"context"
	"testing"
)

// partitions is the standard number of each owned topic's.
const partitions = 2

// residentKB is what ten thousand devices behind gateways may cost, each.
const residentKB = 40

// newPlatform is what a scenario runs on; Start starts it.
func newPlatform(_ context.Context, t *testing.T, flags ...string) Platform {
	t.Helper()
	return NewStandalone(t, flags...)
}

// newSecurePlatform is newPlatform with a TLS door, for which certificates is a folder.
func newSecurePlatform(_ context.Context, t *testing.T, certificates string, flags ...string) Platform {
	t.Helper()
	return NewSecureStandalone(t, certificates, flags...)
}

// endParts has nothing to end: a standalone brings all it needs.
func endParts() error { return nil }
