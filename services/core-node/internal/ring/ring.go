// Package ring says which partitions of the owned topics this node processes. A partition has
// one owner at a time; its right to process is a lease with an epoch. See DESIGN.md.
package ring

import "context"

// Lease is the right to process one partition number of every owned topic.
type Lease interface {
	Partition() int
	// Epoch grows with every time the partition is taken, whoever takes it.
	Epoch() int64
	// Valid reports, by the monotonic clock, whether the lease still holds for longer than a
	// request to the bus or the store may take. Once false it stays false.
	Valid() bool
}

// Own processes lease's partition exclusively. Its context ends when the partition is to be handed over or the
// lease is over; it then finishes what it has in hand, as far as the lease is valid, and returns. An error means
// that the partition cannot go on in this process. It is called again when the partition is taken again.
type Own func(ctx context.Context, lease Lease) error

// Held answers read-only for a partition this node owned last. Its context ends when another owner is seen; being
// cut off from the coordinator does not end it. It may run a moment beside the new owner's.
type Held func(ctx context.Context, partition int) error

// Ring hands out leases.
type Ring interface {
	// Run calls own, on a goroutine of its own, for every partition that comes to this node, and held beside it
	// from then until another owner is seen. It returns when ctx ended and every own and held has, or
	// with the first error of any.
	Run(ctx context.Context, own Own, held Held) error
}
