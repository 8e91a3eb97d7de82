package bus

import (
	"context"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// care is what open readers need whether or not something is read: their offsets committed again before brokers forget
// them, and a look at how much of the retention is used up.
type care struct {
	mu      sync.Mutex
	readers map[*reader]struct{}
}

func (c *care) add(r *reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readers == nil {
		c.readers = map[*reader]struct{}{}
	}
	c.readers[r] = struct{}{}
}

// drop waits for a renewal that is under way: after it a reader commits nothing more.
func (c *care) drop(r *reader) {
	c.mu.Lock()
	delete(c.readers, r)
	c.mu.Unlock()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
}

// byTopic returns the open readers by topic and partition.
func (c *care) byTopic() map[string]map[int]*reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	readers := map[string]map[int]*reader{}
	for r := range c.readers {
		topic := readers[r.log.topic]
		if topic == nil {
			topic = map[int]*reader{}
			readers[r.log.topic] = topic
		}
		topic[r.log.partition] = r
	}
	return readers
}

// careInterval is how often it looks, at most.
const careInterval = 5 * time.Minute

// takeCare looks after open readers until the client ends.
func (c *Client) takeCare() {
	ticker := time.NewTicker(min(careInterval, max(c.config.CommitRenewal/4, time.Millisecond)))
	defer ticker.Stop()
	for {
		select {
		case <-c.life.Done():
			return
		case <-ticker.C:
			for topic, readers := range c.care.byTopic() {
				c.careFor(c.life, topic, readers)
			}
		}
	}
}

func (c *Client) careFor(ctx context.Context, topic string, readers map[int]*reader) {
	lags, err := c.lag(ctx, topic, func(partition int) bool { return readers[partition] != nil })
	if err != nil {
		if ctx.Err() == nil {
			c.log.Warn("look after owned partitions", "topic", topic, "err", err)
		}
		return
	}
	for i := range lags {
		r := readers[lags[i].Partition]
		renewed, err := r.renew(ctx, &lags[i])
		switch {
		case err != nil && ctx.Err() == nil:
			c.log.Warn("commit an offset again", "topic", topic, "partition", lags[i].Partition, "err", err)
		case renewed:
			c.metrics.renewed.Inc()
		}
	}
}

// renew notes how much of the retention is used up, and commits what was committed again when that was long ago. What somebody
// else committed since is left alone. Brokers cannot compare and set, so it looks immediately before; a commit that still
// falls in between costs the other owner a redelivery.
func (r *reader) renew(ctx context.Context, found *PartitionLag) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false, nil
	}
	r.used.Set(found.Used)
	if time.Since(r.at) < r.client.config.CommitRenewal || found.Committed < 0 {
		return false, nil
	}
	commit := r.commit
	if r.at.IsZero() { // committed by an earlier owner
		commit = wire.Commit{Offset: found.Committed, Metadata: found.Metadata}
	}
	offset, metadata, err := r.Committed(ctx)
	if err != nil || commit != (wire.Commit{Offset: offset, Metadata: metadata}) {
		return false, err
	}
	return true, r.put(ctx, commit)
}
