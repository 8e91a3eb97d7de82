package bus

import (
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// run sends the queue's batches one after the other until the queue is closed and empty, or the client's life ends.
func (q *queue) run() {
	var s sender
	defer close(q.empty)
	defer s.hangUp(q.client)
	for {
		b, over := q.take()
		if over {
			return
		}
		if b == nil {
			<-q.wake
			continue
		}
		q.finish(b, s.send(q, b))
	}
}

// sender holds the connection to a partition's leader between batches.
type sender struct{ conn *wire.Conn }

// send puts b on the wire until it is acknowledged, refused for good, tried often enough, or nobody is left who waits for it.
// Not reaching a leader is no attempt, and neither is the refusal of a broker that took nothing because it does not lead or lacks
// replicas: that lasts as long as an election does, and nothing can arrive twice.
func (s *sender) send(q *queue, b *batch) error {
	sealed := b.records.Seal()
	pause := newBackoff()
	for attempt := 1; ; {
		err := s.try(q, sealed, &attempt)
		if err == nil {
			return nil
		}
		if q.client.life.Err() != nil {
			return ErrClosed
		}
		if attempt > q.client.config.Attempts || !passing(err) {
			return failure(err)
		}
		if q.told(b) {
			return ErrDeadline
		}
		q.counters.retries.Inc()
		if pause.wait(q.client.life) != nil {
			return ErrClosed
		}
	}
}

func (s *sender) try(q *queue, sealed []byte, attempt *int) error {
	ctx := q.client.life
	if s.conn == nil {
		conn, err := q.client.dialer.Leader(ctx, q.topic.name, q.partition)
		if err != nil {
			return err
		}
		s.conn = conn
	}
	*attempt++
	started := time.Now()
	err := s.conn.Produce(ctx, q.topic.name, q.partition, sealed)
	q.counters.request(time.Since(started), len(sealed))
	if err != nil {
		// A refusal often means that the leader moved; after any other error the connection
		// may still deliver the batch late, and closing it is what ends that.
		s.hangUp(q.client)
		q.client.dialer.Forget(q.topic.name)
		if code, _ := wire.Refused(err); slices.Contains(untaken, code) {
			*attempt--
		}
	}
	return err
}

// untaken are the refusals after which a batch is certainly not in the log and another broker, or the same one later, may take it.
var untaken = []kafka.Error{
	kafka.NotLeaderForPartition, kafka.LeaderNotAvailable, kafka.UnknownTopicOrPartition, kafka.NotEnoughReplicas,
	kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch,
}

func (s *sender) hangUp(c *Client) {
	if s.conn == nil {
		return
	}
	if err := s.conn.Close(); err != nil {
		c.log.Debug("close connection", "err", err)
	}
	s.conn = nil
}

// passing reports whether another attempt may succeed.
func passing(err error) bool {
	code, refused := wire.Refused(err)
	return !refused || code.Temporary()
}

// failure is err as publishers see it.
func failure(err error) error {
	if code, refused := wire.Refused(err); refused && wire.TooLarge(code) {
		return ErrTooLarge
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// watchDeadlines answers messages whose deadline passed, and drops queues nobody needs, until the client ends.
func (c *Client) watchDeadlines() {
	// Looking forty times per deadline, and a look's time ahead of it, answers everyone by it.
	look := max(c.config.PublishDeadline/40, time.Millisecond)
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-c.life.Done():
			return
		case <-ticker.C:
			limit := c.now() - int64(c.config.PublishDeadline-look)
			for _, t := range *c.topics.Load() {
				for _, q := range t.queues {
					q.expire(limit)
				}
			}
			c.retire()
		}
	}
}
