package system

import (
	"context"
	"testing"
	"time"
)

// eventually asks until check is content, for as long as patience.
func eventually(ctx context.Context, t *testing.T, patience time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			t.Fatalf("after %s still: %v", patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
