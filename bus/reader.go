package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// OpenReader implements Partitions. The reader is used by one goroutine at a time.
func (c *Client) OpenReader(ctx context.Context, topic string, partition int) (Reader, error) {
	r := &reader{client: c, log: newLog(c, topic, partition)}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s/%d: %w", topic, partition, err), r.log.hangUp())
	}
	number := strconv.Itoa(partition)
	r.log.lag = c.metrics.lag.WithLabelValues(topic, number)
	r.log.returned = r.afterLoss
	r.used = c.metrics.used.WithLabelValues(topic, number)
	c.care.add(r)
	return r, nil
}

// reader is a partition's log with its committed offset.
type reader struct {
	client *Client
	log    *log
	used   prometheus.Gauge

	mu     sync.Mutex // held through each commit, so that one made again does not follow a newer one
	commit wire.Commit
	at     time.Time // when it was committed; zero: not by this reader
	closed bool
}

// open goes to the committed offset, or the earliest when there is none.
func (r *reader) open(ctx context.Context) error {
	offset, _, err := r.Committed(ctx)
	if err != nil {
		return err
	}
	r.commit.Offset = offset
	if offset < 0 {
		if offset, err = r.earliest(ctx); err != nil {
			return err
		}
	}
	r.log.from(offset)
	return nil
}

func (r *reader) earliest(ctx context.Context) (offset int64, err error) {
	err = r.client.patiently(ctx, func(ctx context.Context) error {
		offset, err = r.log.end(ctx, wire.Earliest)
		return err
	})
	return offset, err
}

// afterLoss says where to go on in a topic that was not there for a while. If it was deleted and made again its commits are gone,
// and offsets mean other records now; if brokers had only not yet heard of it nothing has changed.
func (r *reader) afterLoss(ctx context.Context) (int64, error) {
	offset, _, err := r.Committed(ctx)
	if err != nil || offset >= 0 {
		return max(offset, r.log.offset), err
	}
	if offset, err = r.log.end(ctx, wire.Earliest); err == nil && offset != r.log.offset {
		r.client.log.Warn("nothing is committed in a topic that was away, going on at the earliest", "topic", r.log.topic, "partition", r.log.partition, "offset", r.log.offset, "earliest", offset)
	}
	return offset, err
}

// Read implements Reader.
func (r *reader) Read(ctx context.Context, max int) ([]Record, error) {
	if max <= 0 {
		return nil, fmt.Errorf("read at most %d records: %w", max, errNothing)
	}
	return r.log.read(ctx, max)
}

var errNothing = errors.New("nothing was asked for")

// Commit implements Reader.
func (r *reader) Commit(ctx context.Context, offset int64, metadata string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.put(ctx, wire.Commit{Offset: offset, Metadata: metadata})
}

// put stores a commit. mu is held.
func (r *reader) put(ctx context.Context, commit wire.Commit) error {
	err := r.coordinated(ctx, func(c *wire.Conn) error {
		return c.Commit(ctx, wire.Alone(r.client.config.Group), r.log.topic, r.log.partition, commit.Offset, commit.Metadata)
	})
	if err == nil {
		r.commit, r.at = commit, time.Now()
	}
	return err
}

// Committed implements Reader.
func (r *reader) Committed(ctx context.Context) (offset int64, metadata string, err error) {
	var commits []wire.Commit
	err = r.coordinated(ctx, func(c *wire.Conn) error {
		commits, err = c.Committed(ctx, r.client.config.Group, r.log.topic, r.log.partition)
		return err
	})
	if err != nil {
		return 0, "", err
	}
	return commits[0].Offset, commits[0].Metadata, nil
}

// coordinated runs one request against the group's coordinator.
func (r *reader) coordinated(ctx context.Context, request func(*wire.Conn) error) error {
	return r.client.patiently(ctx, func(ctx context.Context) error { return r.client.coordinator.do(ctx, request) })
}

// patiently tries again what may pass: a connection that turns out to be closed, a leader or coordinator that moves
// or has just been asked for the first time.
func (c *Client) patiently(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.RequestTimeout*time.Duration(c.config.Attempts))
	defer cancel()
	pause := newBackoff()
	for {
		err := try(ctx)
		if err == nil || !passing(err) || pause.wait(ctx) != nil {
			return err
		}
	}
}

// Close implements Reader.
func (r *reader) Close() error {
	r.client.care.drop(r)
	number := strconv.Itoa(r.log.partition)
	r.client.metrics.lag.DeleteLabelValues(r.log.topic, number)
	r.client.metrics.used.DeleteLabelValues(r.log.topic, number)
	return r.log.hangUp()
}
