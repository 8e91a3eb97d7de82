// Package ring says which partitions of the owned topics this node processes. A partition has
// one owner at a time; its right to process is a lease with an epoch.
package ring

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// Lease is the right to process one partition number of every owned topic.
type Lease interface {
	Partition() int
	// Epoch grows with every change of owner.
	Epoch() int64
	// Valid reports, by the monotonic clock, whether the lease still holds for longer than a
	// request to the bus or the store may take. Once false it stays false.
	Valid() bool
}

// Ring hands out leases.
type Ring interface {
	// Run calls own on a goroutine of its own for every partition that comes to this node. own's
	// context ends when the partition is to be handed over; it then finishes what it has in hand and
	// returns. Run returns when ctx ended and every own has, or with the first error of any.
	Run(ctx context.Context, own func(context.Context, Lease) error) error
}

// Static is the ring of a single node: it owns every partition, for ever, in epoch 1.
type Static int

// Run implements Ring for s partitions.
func (s Static) Run(ctx context.Context, own func(context.Context, Lease) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for partition := range int(s) {
		group.Go(func() error { return own(ctx, permanent(partition)) })
	}
	return group.Wait()
}

type permanent int

func (p permanent) Partition() int { return int(p) }
func (permanent) Epoch() int64     { return 1 }
func (permanent) Valid() bool      { return true }
