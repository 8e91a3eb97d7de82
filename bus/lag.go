package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/bus/internal/record"
	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// PartitionLag is how far the owners of a partition have come.
type PartitionLag struct {
	Partition int
	// Committed is the offset before which everything is done with, -1 when nothing was committed yet; Metadata is what
	// the owner committed beside it.
	Committed int64
	Metadata  string
	// Earliest is the offset of the oldest record kept, End that of the next record to come.
	Earliest, End int64
	// Oldest is when the oldest record that is not done with was published, by its publisher's clock; zero when there is none.
	Oldest time.Time
	// Used is the share of the topic's retention that has passed since Oldest: at 1 records are lost. It is 0 when
	// nothing waits or records are kept for ever.
	Used float64
}

// Waiting returns how many records are not done with.
func (p PartitionLag) Waiting() int64 { return p.End - p.next() }

// next is the offset of the oldest record not done with.
func (p PartitionLag) next() int64 { return max(p.Committed, p.Earliest) }

// Lag returns how far the owners of a topic's partitions have come, in the partitions' order. It asks the brokers, whoever owns them.
func (c *Client) Lag(ctx context.Context, topic string) ([]PartitionLag, error) {
	partitions, err := c.lag(ctx, topic, nil)
	if err != nil {
		return nil, fmt.Errorf("lag of %s: %w", topic, err)
	}
	return partitions, nil
}

// lag is Lag limited to partitions for which wanted is true; nil wants all.
func (c *Client) lag(ctx context.Context, topic string, wanted func(partition int) bool) (lags []PartitionLag, err error) {
	earliest, err := c.dialer.Ends(ctx, wire.Earliest, topic)
	if err != nil {
		return nil, err
	}
	ends, err := c.dialer.Ends(ctx, wire.Latest, topic)
	if err != nil {
		return nil, err
	}
	if len(earliest[topic]) == 0 || len(earliest[topic]) != len(ends[topic]) {
		return nil, errUnknownTopic
	}
	var numbers []int
	for p := range ends[topic] {
		if wanted == nil || wanted(p) {
			numbers = append(numbers, p)
		}
	}
	var commits []wire.Commit
	err = c.patiently(ctx, func(ctx context.Context) error {
		return c.coordinator.do(ctx, func(conn *wire.Conn) error {
			commits, err = conn.Committed(ctx, c.config.Group, topic, numbers...)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	settings, err := c.dialer.Settings(ctx, wire.RetentionMS, topic)
	if err != nil {
		return nil, err
	}
	for i, p := range numbers {
		lag := PartitionLag{
			Partition: p, Committed: commits[i].Offset, Metadata: commits[i].Metadata,
			Earliest: earliest[topic][p], End: ends[topic][p],
		}
		if lag.Waiting() > 0 {
			if lag.Oldest, err = c.publishedAt(ctx, topic, p, lag.next()); err != nil {
				return nil, err
			}
		}
		if retention := settings[topic]; retention > 0 && !lag.Oldest.IsZero() {
			lag.Used = max(0, float64(time.Since(lag.Oldest).Milliseconds())/float64(retention))
		}
		lags = append(lags, lag)
	}
	return lags, nil
}

// publishedAt returns when the first record from offset on was published; zero when there is none.
func (c *Client) publishedAt(ctx context.Context, topic string, partition int, offset int64) (time.Time, error) {
	var first record.Record
	err := c.patiently(ctx, func(ctx context.Context) error {
		conn, err := c.dialer.Leader(ctx, topic, partition)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // the answer is here
		question := wire.Fetch{Topic: topic, Partition: partition, Offset: offset, MaxBytes: 1}
		if err := conn.Ask(question); err != nil {
			return err
		}
		batches, _, err := conn.Await(ctx, question)
		if err != nil {
			c.dialer.Forget(topic)
			return err
		}
		_, err = record.NewSet(batches, offset).Next(&first)
		return err
	})
	if err != nil || first.TimeMS == 0 {
		return time.Time{}, err
	}
	return time.UnixMilli(first.TimeMS), nil
}
