package ring

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// Static is the ring of a single node: it owns every partition, for ever, in epoch 1.
type Static int

// Run implements Ring for s partitions.
func (s Static) Run(ctx context.Context, own Own, held Held) error {
	group, ctx := errgroup.WithContext(ctx)
	for partition := range int(s) {
		group.Go(func() error { return own(ctx, permanent(partition)) })
		group.Go(func() error { return held(ctx, partition) })
	}
	return group.Wait()
}

type permanent int

func (p permanent) Partition() int { return int(p) }
func (permanent) Epoch() int64     { return 1 }
func (permanent) Valid() bool      { return true }
