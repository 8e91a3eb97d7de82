package bus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/segmentio/kafka-go"

	"github.com/sluice-iot/sluice/bus/internal/record"
	"github.com/sluice-iot/sluice/bus/internal/wire"
	"github.com/sluice-iot/sluice/bus/topics"
)

// inbox is this process's reply topic: answers to its calls, and messages addressed to it.
type inbox struct {
	topic    string
	handle   atomic.Pointer[func(Record)]
	kinds    sync.Map // kind → func(Record)
	presence presence
}

// ReplyTopic implements Inbox; it is empty for a client without one.
func (c *Client) ReplyTopic() string { return c.inbox.topic }

// OnMessage implements Inbox.
func (c *Client) OnMessage(handle func(Record)) { c.inbox.handle.Store(&handle) }

// OnKind implements Inbox.
func (c *Client) OnKind(kind string, handle func(Record)) { c.inbox.kinds.Store(kind, handle) }

// openInbox makes the reply topic and starts reading it behind what an earlier process of this
// name left in it.
func (c *Client) openInbox(ctx context.Context) error {
	if c.options.ReplyPrefix == "" {
		return nil
	}
	name := c.options.ReplyPrefix + c.options.Node
	if err := c.makeInbox(ctx, name); err != nil {
		return err
	}
	l := newLog(c, name, 0)
	l.missing = func(ctx context.Context) error { return c.makeInbox(ctx, name) }
	end, err := l.end(ctx, wire.Latest)
	if err != nil {
		return err
	}
	l.from(end)
	c.inbox.topic = name
	c.inbox.presence.init()
	c.running.Go(func() { c.readInbox(l) })
	c.running.Go(c.showPresence)
	return nil
}

func (c *Client) makeInbox(ctx context.Context, name string) error {
	err := c.dialer.Create(ctx, wire.Topic{
		Name: name, Partitions: 1, Replication: c.config.Replication, Retention: c.config.ReplyRetention,
	})
	if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
		return fmt.Errorf("make reply topic: %w", err)
	}
	return nil
}

// readInbox gives answers to their calls and the rest to whoever set OnMessage, until the client ends.
func (c *Client) readInbox(l *log) {
	defer l.release()
	for {
		records, err := l.read(c.life, tailBatch)
		if c.life.Err() != nil {
			return
		}
		if err != nil {
			c.log.Error("read reply topic", "topic", l.topic, "err", err)
			return
		}
		for i := range records {
			c.receive(&records[i])
		}
	}
}

func (c *Client) receive(r *Record) {
	if len(r.Headers) == 1 && r.Headers[0].Key == record.Correlation && len(r.Headers[0].Value) == 8 {
		if !c.calls.settle(binary.BigEndian.Uint64(r.Headers[0].Value), outcome{answer: r.Value}) {
			c.metrics.lateAnswers.Inc()
		}
		return
	}
	if isNote(r) {
		c.inbox.presence.hear(r.Headers[0].Value, c.now(), c.config.PublishDeadline)
		return
	}
	for i := range r.Headers {
		if r.Headers[i].Key != topics.KindHeader {
			continue
		}
		if found, ok := c.inbox.kinds.Load(string(r.Headers[i].Value)); ok {
			if handle, ok := found.(func(Record)); ok {
				handle(*r)
				return
			}
		}
	}
	handle := c.inbox.handle.Load()
	if handle == nil {
		c.metrics.unclaimed.Inc()
		return
	}
	(*handle)(*r)
}

// closeInbox deletes the reply topic, unless another process reads it.
func (c *Client) closeInbox() error {
	if c.inbox.topic == "" || c.inbox.presence.ended || c.inbox.presence.successor.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.config.RequestTimeout)
	defer cancel()
	return c.dialer.Delete(ctx, c.inbox.topic)
}
