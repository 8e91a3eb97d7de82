package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/bus/internal/wire"
)

var errPartitions = errors.New("has more than one partition")

// Past implements Historian.
func (c *Client) Past(ctx context.Context, topic string, handle func(Record)) (Past, error) {
	past, err := c.past(ctx, topic, handle)
	if err != nil {
		return Past{}, fmt.Errorf("read what %s holds: %w", topic, err)
	}
	return past, nil
}

func (c *Client) past(ctx context.Context, topic string, handle func(Record)) (past Past, err error) {
	partitions, err := c.Partitions(ctx, topic)
	if err != nil {
		return past, err
	}
	if partitions != 1 {
		return past, errPartitions
	}
	l := newLog(c, topic, 0)
	defer l.release()
	if past.Life, err = c.dialer.TopicID(ctx, topic); err != nil {
		return past, err
	}
	if past.First, err = l.end(ctx, wire.Earliest); err != nil {
		return past, err
	}
	if past.End, err = l.end(ctx, wire.Latest); err != nil {
		return past, err
	}
	l.from(past.First)
	for l.offset < past.End {
		if err := l.fetch(ctx); err != nil {
			return past, err // the caller begins again: what is there may have changed
		}
		for l.set != nil {
			records, err := l.decode(tailBatch)
			if err != nil {
				return past, err
			}
			for i := range records {
				if records[i].Offset < past.End {
					handle(records[i])
				}
			}
		}
	}
	return past, nil
}
