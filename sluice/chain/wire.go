package chain

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
)

// wire is the bus between a core node's scripts and the executor, within one process: one partition of calls, one reply topic.
// It keeps what is published until it is read; who publishes waits for the answers, which bounds that.
type wire struct {
	mu       sync.Mutex
	calls    []bus.Record
	arrived  chan struct{} // something is in calls
	next     int64
	handlers map[string]func(bus.Record)
	telling  sync.WaitGroup
}

func newWire() *wire {
	return &wire{arrived: make(chan struct{}, 1), handlers: map[string]func(bus.Record){}}
}

const replies = topics.CoreResponses + ".offline"

// Publish implements bus.Publisher.
func (w *wire) Publish(m bus.Message, done func(error)) error {
	r := bus.Record{Message: bus.Message{Topic: m.Topic, Key: bytes.Clone(m.Key), Value: bytes.Clone(m.Value)}, Time: time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	var handle func(bus.Record)
	switch m.Topic {
	case topics.ScriptRequests:
		r.Offset = w.next
		w.next++
		w.calls = append(w.calls, r)
		select {
		case w.arrived <- struct{}{}:
		default:
		}
	case replies:
		for _, h := range m.Headers {
			if h.Key == topics.KindHeader {
				handle = w.handlers[string(h.Value)]
			}
		}
	default:
		return bus.ErrUnavailable
	}
	w.telling.Go(func() { // not from within Publish: the publisher may hold a lock
		if handle != nil {
			handle(r)
		}
		if done != nil {
			done(nil)
		}
	})
	return nil
}

// Room implements bus.Publisher: there always is.
func (w *wire) Room(string, []byte) <-chan struct{} {
	open := make(chan struct{})
	close(open)
	return open
}

// ReplyTopic implements bus.Inbox.
func (w *wire) ReplyTopic() string { return replies }

// OnMessage implements bus.Inbox: nothing but answers of a kind comes here.
func (w *wire) OnMessage(func(bus.Record)) {}

// OnKind implements bus.Inbox.
func (w *wire) OnKind(kind string, handle func(bus.Record)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handlers[kind] = handle
}

// Partitions implements bus.Partitions.
func (w *wire) Partitions(_ context.Context, topic string) (int, error) {
	if !strings.HasPrefix(topic, topics.ScriptRequests) {
		return 0, bus.ErrUnavailable
	}
	return 1, nil
}

// OpenReader implements bus.Partitions. Calls are read by who joins.
func (w *wire) OpenReader(context.Context, string, int) (bus.Reader, error) {
	return nil, bus.ErrUnavailable
}

// Join implements bus.Member for the one member there is.
func (w *wire) Join(ctx context.Context, _ bus.Group, work func(context.Context, bus.Reader) error) error {
	return work(ctx, (*callReader)(w))
}

// Age implements the executor's bus: what is published is read at once.
func (w *wire) Age(bus.Record) time.Duration { return 0 }

// close waits for what is being told.
func (w *wire) close() { w.telling.Wait() }

// callReader reads the calls.
type callReader wire

// Read implements bus.Reader.
func (r *callReader) Read(ctx context.Context, most int) ([]bus.Record, error) {
	for {
		r.mu.Lock()
		n := min(most, len(r.calls))
		read := append([]bus.Record(nil), r.calls[:n]...)
		r.calls = r.calls[n:]
		r.mu.Unlock()
		if n > 0 {
			return read, nil
		}
		select {
		case <-r.arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Commit implements bus.Reader: what was read is gone.
func (r *callReader) Commit(context.Context, int64, string) error { return nil }

// Committed implements bus.Reader.
func (r *callReader) Committed(context.Context) (int64, string, error) { return -1, "", nil }

// Close implements bus.Reader.
func (r *callReader) Close() error { return nil }

var errNoExecutor = errors.New("the executor of scripts ended")
