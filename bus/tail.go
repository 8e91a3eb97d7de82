package bus

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// tailBatch is how many records a tail hands over at once.
const tailBatch = 1024

// tailWait is how long a broker holds a read of a tail while there is nothing new: an answer that
// holds nothing is a sign of life. One that holds something may have been on its way for as long as it was waited for, and is a sign of
// life of when it was asked for: silences last up to twice this.
const tailWait = 300 * time.Millisecond

// tail is a topic that is being tailed.
type tail struct{ logs []*log }

// Tail implements Tailer. It returns ctx's error, or why a topic cannot be read.
func (c *Client) Tail(ctx context.Context, topic string, ready chan<- struct{}, handle func(Record)) error {
	logs, err := c.ends(ctx, topic)
	if err != nil {
		return fmt.Errorf("tail %s: %w", topic, err)
	}
	t := &tail{logs}
	c.tails.Store(topic, t)
	defer c.tails.CompareAndDelete(topic, t)
	if ready != nil {
		close(ready)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	portions := make(chan portion)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel(nil)
	for _, l := range logs {
		readers.Go(func() {
			if err := l.forward(ctx, portions); err != nil {
				cancel(err)
			}
		})
	}
	for {
		select {
		case p := <-portions:
			for i := range p.records {
				handle(p.records[i])
			}
			p.handled <- struct{}{}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ends opens every partition of a topic behind its last record, as often as it takes until ctx ends.
func (c *Client) ends(ctx context.Context, topic string) ([]*log, error) {
	pause := newBackoff()
	for {
		logs, err := c.tryEnds(ctx, topic)
		if err == nil {
			return logs, nil
		}
		c.log.Debug("find the ends of a topic", "topic", topic, "err", err)
		if err := pause.wait(ctx); err != nil {
			return nil, err
		}
	}
}

func (c *Client) tryEnds(ctx context.Context, topic string) (logs []*log, err error) {
	defer func() {
		if err != nil {
			for _, l := range logs {
				l.release()
			}
		}
	}()
	partitions, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	for p := range partitions {
		l := newLog(c, topic, p)
		logs = append(logs, l)
		end, err := l.end(ctx, wire.Latest)
		if err != nil {
			return logs, err
		}
		l.from(end)
		l.wait = min(tailWait, c.config.FetchWait)
		l.heard.Store(c.now())
	}
	return logs, nil
}

// Silence implements Tailer.
func (c *Client) Silence(topic string) time.Duration {
	latest, tailed := c.tails.Load(topic)
	if !tailed {
		return math.MaxInt64
	}
	now := c.now()
	oldest := now
	for _, l := range latest.(*tail).logs {
		oldest = min(oldest, l.heard.Load())
	}
	return time.Duration(now - oldest)
}

// portion is what a log read at once. handled has room for one.
type portion struct {
	records []Record
	handled chan<- struct{}
}

// forward sends what the log holds to portions until ctx ends, each once the one before it has been handled: only then is it heard of.
func (l *log) forward(ctx context.Context, portions chan<- portion) error {
	defer l.release()
	handled := make(chan struct{}, 1)
	for {
		some, err := l.read(ctx, tailBatch)
		if err != nil {
			return err
		}
		select {
		case portions <- portion{some, handled}:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-handled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release closes the connection at the end of the log's use.
func (l *log) release() {
	if err := l.hangUp(); err != nil {
		l.client.log.Debug("close connection", "err", err)
	}
}
