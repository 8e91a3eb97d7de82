// Package memory keeps what a process holds of the machine's memory near what it uses. The
// runtime collects garbage as memory is asked for, so a process that had a burst and then falls
// silent would keep the burst's garbage until somebody asks again.
package memory

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Config is what operators set.
type Config struct {
	Limit  int64         `name:"memory-limit" default:"0" help:"Bytes of memory above which garbage is collected ever more often, traded for processor time; what is not garbage is not refused. 0: as GOMEMLIMIT says, else none."`
	Return time.Duration `name:"memory-return" default:"10s" help:"How often to look whether the process has become quiet and holds memory it does not use, which is then given back. 0: never."`
}

// worth is how many bytes must have come to be held for giving back to pay, and how few must be
// asked for between two looks for the process to be quiet: a collection costs some milliseconds.
const worth = 8 << 20

// Keeper gives memory back. Make it with New; run it once.
type Keeper struct {
	every  time.Duration
	read   func() usage
	free   func()
	before usage  // at the last look
	kept   uint64 // held after memory was last given back
}

// usage is what the runtime says of the process's memory, in bytes.
type usage struct {
	held  uint64 // taken from the operating system and not given back
	asked uint64 // allocated, ever
}

// New sets the limit, which holds for the whole process, and returns the keeper.
func New(c Config) *Keeper {
	if c.Limit > 0 {
		debug.SetMemoryLimit(c.Limit)
	}
	return &Keeper{every: c.Return, read: readUsage, free: debug.FreeOSMemory, before: readUsage()}
}

// Run looks from time to time until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	if k.every <= 0 {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(k.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			k.look()
		}
	}
}

// look gives memory back if that pays.
func (k *Keeper) look() {
	now := k.read()
	if now.asked-k.before.asked < worth && now.held >= k.kept+worth {
		k.free()
		now = k.read()
		k.kept = now.held
	}
	k.before = now
}

func readUsage() usage {
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(samples)
	return usage{
		held:  samples[0].Value.Uint64() - samples[1].Value.Uint64(),
		asked: samples[2].Value.Uint64(),
	}
}
