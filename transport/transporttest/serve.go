package transporttest

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
)

// Serve answers the calls that arrive over a real bus, as a core node that owns every partition
// would, until ctx ends.
func (c *Core) Serve(ctx context.Context, b bus.Bus) error {
	serving, ctx := errgroup.WithContext(ctx)
	for _, topic := range []string{topics.TransportRequests, topics.Core} {
		n, err := b.Partitions(ctx, topic)
		if err != nil {
			return fmt.Errorf("serve calls: %w", err)
		}
		for partition := range n {
			serving.Go(func() error { return c.servePartition(ctx, b, topic, partition) })
		}
	}
	return serving.Wait()
}

// callsAtOnce is how many calls are read in one go.
const callsAtOnce = 1000

func (c *Core) servePartition(ctx context.Context, b bus.Bus, topic string, partition int) error {
	reader, err := b.OpenReader(ctx, topic, partition)
	if err != nil {
		return fmt.Errorf("serve calls: %w", err)
	}
	defer reader.Close()
	for {
		records, err := reader.Read(ctx, callsAtOnce)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve calls: %w", err)
		}
		for _, r := range records {
			if answer, err := c.answer(ctx, topic, r.Value); err == nil {
				b.Answer(r, answer) // what is no call, such as a session's report, is left out
			}
		}
	}
}
