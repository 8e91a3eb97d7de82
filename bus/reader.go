package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// OpenReader implements Partitions. The reader is used by one goroutine at a time.
func (c *Client) OpenReader(ctx context.Context, topic string, partition int) (Reader, error) {
	r := &reader{log: newLog(c, topic, partition)}
	offset, _, err := r.Committed(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s/%d: %w", topic, partition, err), r.Close())
	}
	if offset < 0 {
		err = c.patiently(ctx, func(ctx context.Context) error {
			offset, err = r.log.end(ctx, wire.Earliest)
			return err
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open %s/%d: %w", topic, partition, err), r.Close())
		}
	}
	r.log.from(offset)
	r.log.lag = c.metrics.lag.WithLabelValues(topic, strconv.Itoa(partition))
	return r, nil
}

// reader is a partition's log with its committed offset.
type reader struct {
	log         *log
	coordinator *wire.Conn
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
	return r.coordinated(ctx, func(c *wire.Conn) error {
		return c.Commit(ctx, r.log.client.config.Group, r.log.topic, r.log.partition, offset, metadata)
	})
}

// Committed implements Reader.
func (r *reader) Committed(ctx context.Context) (offset int64, metadata string, err error) {
	err = r.coordinated(ctx, func(c *wire.Conn) error {
		offset, metadata, err = c.Committed(ctx, r.log.client.config.Group, r.log.topic, r.log.partition)
		return err
	})
	return offset, metadata, err
}

// coordinated runs one request against the group's coordinator.
func (r *reader) coordinated(ctx context.Context, request func(*wire.Conn) error) error {
	return r.log.client.patiently(ctx, func(ctx context.Context) error { return r.coordinate(ctx, request) })
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

func (r *reader) coordinate(ctx context.Context, request func(*wire.Conn) error) (err error) {
	if r.coordinator == nil {
		if r.coordinator, err = r.log.client.dialer.Coordinator(ctx, r.log.client.config.Group); err != nil {
			return err
		}
	}
	if err = request(r.coordinator); err != nil {
		err = errors.Join(err, r.hangUp())
	}
	return err
}

func (r *reader) hangUp() (err error) {
	if r.coordinator != nil {
		err = r.coordinator.Close()
		r.coordinator = nil
	}
	return err
}

// Close implements Reader.
func (r *reader) Close() error {
	r.log.client.metrics.lag.DeleteLabelValues(r.log.topic, strconv.Itoa(r.log.partition))
	return errors.Join(r.hangUp(), r.log.hangUp())
}
