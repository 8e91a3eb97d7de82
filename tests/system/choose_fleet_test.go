//go:build fleet

package system

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/parts/part"
)

// partitions is the standard number of each owned topic's.
const partitions = 24

// residentKB is what ten thousand devices behind gateways may cost, each: mostly the heaps of nine processes under load.
const residentKB = 80

// theParts are shared by the scenarios of this process.
var theParts struct {
	sync.Mutex
	*Parts
}

// shared are the parts, running from when they are first asked for; who harms one has it whole again at the end.
func shared(t *testing.T) *Parts {
	t.Helper()
	theParts.Lock()
	defer theParts.Unlock()
	if theParts.Parts == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		began := time.Now()
		parts, err := StartParts(ctx, part.KafkaOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("parts are ready after %.1f s", time.Since(began).Seconds())
		theParts.Parts = parts
	}
	return theParts.Parts
}

// newPlatform is what a scenario runs on: a fleet of its own on the shared parts. Start starts it.
func newPlatform(ctx context.Context, t *testing.T, flags ...string) Platform {
	t.Helper()
	return NewFleet(ctx, t, shared(t), FleetOptions{Flags: flags, Scripts: 1})
}

// newSecurePlatform is newPlatform with a TLS door, for which certificates is a folder.
func newSecurePlatform(ctx context.Context, t *testing.T, certificates string, flags ...string) Platform {
	t.Helper()
	flags = append(flags, "--blob-folder="+t.TempDir(), "--blob-shared=true")
	return NewFleet(ctx, t, shared(t), FleetOptions{Flags: flags, Scripts: 1, Certificates: certificates})
}

// endParts ends what shared has started.
func endParts() error {
	theParts.Lock()
	defer theParts.Unlock()
	if theParts.Parts == nil {
		return nil
	}
	return theParts.Stop()
}
