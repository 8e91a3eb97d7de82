package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"github.com/sluice-iot/sluice/bus/internal/record"
	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// log reads one partition over a connection of its own: a held read would hold up whatever
// shares its connection.
type log struct {
	client    *Client
	topic     string
	partition int
	newest    *atomic.Int64
	count     prometheus.Counter
	lag       prometheus.Gauge // nil when nobody looks
	// missing is called when the topic is not there; nil waits for it.
	missing func(context.Context) error
	// returned is called when it is there again, and says where to go on; nil goes on where it was.
	returned func(context.Context) (offset int64, err error)

	conn    *wire.Conn
	asked   *wire.Fetch // the question under way
	set     *record.Set // what is left of the last answer
	offset  int64       // next to read
	askedAt int64
	arrived int64
	holds   int64        // the last answer has at least what there was at this time, however long it took to come
	heard   atomic.Int64 // what there was at this time has been handed over; all on the client's clock
	wait    time.Duration
	pause   *backoff
	gone    bool // the topic was not there when last looked for
}

func newLog(c *Client, topic string, partition int) *log {
	return &log{
		client: c, topic: topic, partition: partition, pause: newBackoff(), wait: c.config.FetchWait,
		newest: c.marks.of(topic, partition), count: c.metrics.read.WithLabelValues(topicLabel(topic)),
	}
}

// from makes offset the next to be read.
func (l *log) from(offset int64) { l.offset, l.set = offset, nil }

// end returns the offset at one end of the log.
func (l *log) end(ctx context.Context, which int64) (int64, error) {
	if err := l.connect(ctx); err != nil {
		return 0, err
	}
	offset, err := l.conn.End(ctx, l.topic, l.partition, which)
	if err != nil {
		return 0, errors.Join(err, l.hangUp())
	}
	return offset, nil
}

func (l *log) connect(ctx context.Context) (err error) {
	if l.conn == nil {
		l.conn, err = l.client.dialer.Leader(ctx, l.topic, l.partition)
	}
	return err
}

func (l *log) hangUp() (err error) {
	if l.conn != nil {
		err = l.conn.Close()
		l.conn = nil
	}
	l.asked = nil
	return err
}

// read returns the next records, at most limit, waiting for the first. It fails when ctx ends, or
// when what the partition holds cannot be understood; all else it tries again.
func (l *log) read(ctx context.Context, limit int) ([]Record, error) {
	for {
		if l.set != nil {
			records, err := l.decode(limit)
			if len(records) > 0 || err != nil {
				return records, err
			}
			l.set = nil
		}
		if err := l.fetch(ctx); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err := l.recover(ctx, err); err != nil {
				return nil, err
			}
		}
	}
}

// decode takes records off the last answer.
func (l *log) decode(limit int) ([]Record, error) {
	var (
		records []Record
		r       record.Record
		newest  int64
	)
	for len(records) < limit {
		more, err := l.set.Next(&r)
		if err != nil {
			return nil, fmt.Errorf("read %s/%d at offset %d: %w", l.topic, l.partition, l.offset, err)
		}
		if !more {
			l.offset = max(l.offset, l.set.Offset())
			l.set = nil
			break
		}
		if records == nil {
			records = make([]Record, 0, min(limit, l.set.Left()+1))
		}
		newest = max(newest, r.TimeMS)
		records = append(records, Record{
			Message:   Message{Topic: l.topic, Key: r.Key, Value: r.Value, Headers: r.Headers},
			Partition: l.partition, Offset: r.Offset, Time: time.UnixMilli(r.TimeMS), read: l.arrived,
		})
		l.offset = r.Offset + 1
	}
	if newest > l.newest.Load() {
		l.newest.Store(newest)
	}
	l.count.Add(float64(len(records)))
	return records, nil
}

// fetch asks the leader for what follows and waits for the answer. A question that ctx
// interrupted is still under way at the next call.
func (l *log) fetch(ctx context.Context) error {
	if err := l.connect(ctx); err != nil {
		return err
	}
	if l.gone && l.returned != nil {
		offset, err := l.returned(ctx)
		if err != nil {
			return err
		}
		l.from(offset)
	}
	l.gone = false
	if l.holds > 0 {
		l.heard.Store(l.holds) // what that answer held has been handed over
	}
	if l.asked == nil {
		question := wire.Fetch{
			Topic: l.topic, Partition: l.partition, Offset: l.offset,
			MaxBytes: l.client.config.FetchBytes, Wait: l.wait,
		}
		l.askedAt = l.client.now() // before it goes: a process may stand still behind that
		if err := l.conn.Ask(question); err != nil {
			return err
		}
		l.asked = &question
	}
	batches, end, err := l.conn.Await(ctx, *l.asked)
	if err != nil {
		return err
	}
	l.arrived, l.holds = l.client.now(), l.askedAt
	if len(batches) == 0 { // the broker kept the question all the while
		l.holds = min(l.arrived, l.askedAt+int64(l.asked.Wait))
	}
	l.asked = nil
	l.set = record.NewSet(batches, l.offset)
	l.pause.reset()
	if l.lag != nil {
		l.lag.Set(float64(max(0, end-l.offset)))
	}
	return nil
}

// recover makes the log readable again after err.
func (l *log) recover(ctx context.Context, err error) error {
	l.client.metrics.failures.WithLabelValues(topicLabel(l.topic)).Inc()
	if closeErr := l.hangUp(); closeErr != nil {
		l.client.log.Debug("close connection", "err", closeErr)
	}
	code, _ := wire.Refused(err)
	if code == kafka.OffsetOutOfRange {
		return l.rewind(ctx)
	}
	l.client.dialer.Forget(l.topic)
	if l.gone = l.gone || code == kafka.UnknownTopicOrPartition; l.gone && l.missing != nil {
		if err := l.missing(ctx); err != nil {
			l.client.log.Warn("make topic again", "topic", l.topic, "err", err)
		}
	}
	l.client.log.Debug("read", "topic", l.topic, "partition", l.partition, "err", err)
	return l.pause.wait(ctx)
}

// rewind goes back to the earliest record: better read twice than not at all.
func (l *log) rewind(ctx context.Context) error {
	earliest, err := l.end(ctx, wire.Earliest)
	if err != nil {
		return l.pause.wait(ctx)
	}
	l.client.metrics.outOfRange.WithLabelValues(topicLabel(l.topic)).Inc()
	l.client.log.Warn("offset out of range, going on at the earliest", "topic", l.topic, "partition", l.partition, "offset", l.offset, "earliest", earliest)
	l.from(earliest)
	return nil
}
