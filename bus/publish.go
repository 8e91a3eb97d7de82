package bus

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/sluice-iot/sluice/bus/internal/record"
	"github.com/sluice-iot/sluice/bus/topics"
)

// topic is one published-to topic: a queue per partition.
type topic struct {
	name     string
	queues   []*queue
	maxBytes int // of one message
}

// Publish implements Publisher.
func (c *Client) Publish(m Message, done func(error)) error {
	t, err := c.topic(m.Topic)
	if err != nil {
		return err
	}
	size := record.Size(m.Key, m.Value, m.Headers)
	if size+record.Overhead > t.maxBytes {
		return ErrTooLarge
	}
	err = t.queues[partitionOf(m.Key, len(t.queues))].put(m, size, done)
	if err == errRetired { // between the look and the put; the next look makes new queues
		return c.Publish(m, done)
	}
	return err
}

// Room implements Publisher.
func (c *Client) Room(name string, key []byte) <-chan struct{} {
	t, err := c.topic(name)
	if err != nil {
		return open
	}
	return t.queues[partitionOf(key, len(t.queues))].room()
}

// open is the channel of a queue that has room.
var open = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// topic returns the named topic's queues.
func (c *Client) topic(name string) (*topic, error) {
	if t := (*c.topics.Load())[name]; t != nil {
		return t, nil
	}
	c.topicsMu.Lock()
	defer c.topicsMu.Unlock()
	switch {
	case c.closing:
		return nil, ErrClosed
	case isReply(name): // its reader made it, with one partition, perhaps a moment ago
		return c.add(map[string]int{name: 1})[name], nil
	case !c.learning:
		c.learning = true
		c.running.Go(c.learnAgain)
	}
	return nil, fmt.Errorf("topic %s is not known: %w", name, ErrUnavailable)
}

// learnAgain looks for topics made since Dial.
func (c *Client) learnAgain() {
	if err := c.learn(c.life); err != nil {
		c.log.Warn("look for unknown topics", "err", err)
	}
	c.topicsMu.Lock()
	c.learning = false
	c.topicsMu.Unlock()
}

func isReply(name string) bool {
	return strings.HasPrefix(name, topics.TransportResponses) || strings.HasPrefix(name, topics.CoreResponses)
}

// learn reads which topics the cluster has.
func (c *Client) learn(ctx context.Context) error {
	counts, err := c.dialer.Partitions(ctx)
	if err != nil {
		return err
	}
	maps.DeleteFunc(counts, func(name string, _ int) bool { return isReply(name) })
	c.topicsMu.Lock()
	defer c.topicsMu.Unlock()
	if !c.closing {
		c.add(counts)
	}
	return nil
}

// add makes queues for topics that have none and returns all topics. topicsMu is held.
func (c *Client) add(counts map[string]int) map[string]*topic {
	all := maps.Clone(*c.topics.Load())
	for name, partitions := range counts {
		if all[name] == nil {
			all[name] = c.newTopic(name, partitions)
		}
	}
	c.topics.Store(&all)
	return all
}

func (c *Client) newTopic(name string, partitions int) *topic {
	t := &topic{name: name, maxBytes: c.config.MessageBytes}
	for _, spec := range topics.Standard(partitions) {
		if spec.Name == name {
			t.maxBytes = max(t.maxBytes, spec.MaxBytes)
		}
	}
	counters := c.metrics.published(name)
	for p := range partitions {
		t.queues = append(t.queues, newQueue(c, t, p, partitions, counters))
	}
	return t
}

// retire drops the queues of reply topics that have had nothing to send for a while: their processes
// are gone, and there is a name for every process that ever was.
func (c *Client) retire() {
	idle := c.now() - int64(c.config.ReplyRetention)
	if idle < 0 {
		return
	}
	c.topicsMu.Lock()
	defer c.topicsMu.Unlock()
	all := *c.topics.Load()
	var left map[string]*topic
	for name, t := range all {
		if isReply(name) && t.queues[0].retire(idle) {
			if left == nil {
				left = maps.Clone(all)
			}
			delete(left, name)
			c.dialer.Forget(name)
		}
	}
	if left != nil {
		c.topics.Store(&left)
	}
}

// flush takes nothing more on and waits until every queue is empty or within has passed.
func (c *Client) flush(within time.Duration) {
	c.topicsMu.Lock()
	c.closing = true
	c.topicsMu.Unlock()
	ctx, cancel := context.WithTimeout(c.life, within)
	defer cancel()
	var queues []*queue
	for _, t := range *c.topics.Load() {
		queues = append(queues, t.queues...)
	}
	for _, q := range queues {
		q.close()
	}
	for _, q := range queues {
		q.drained(ctx)
	}
}
