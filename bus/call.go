package bus

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus/internal/record"
)

// calls are the calls of this process that wait for an answer, by correlation.
type calls struct {
	mu      sync.Mutex
	next    uint64
	max     int
	waiting map[uint64]chan outcome
}

// outcome is how a call ended.
type outcome struct {
	answer []byte
	err    error
}

// open starts the correlations at a random number, so that answers to an earlier process of the
// same name are not taken for ours.
func (c *calls) open(limit int) {
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails, by its documentation
	c.next = binary.BigEndian.Uint64(seed[:])
	c.max = limit
	c.waiting = map[uint64]chan outcome{}
}

// enter opens a call; false when too many are open.
func (c *calls) enter() (correlation uint64, end chan outcome, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) >= c.max {
		return 0, nil, false
	}
	c.next++
	end = make(chan outcome, 1)
	c.waiting[c.next] = end
	return c.next, end, true
}

// leave closes a call.
func (c *calls) leave(correlation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, correlation)
}

// settle gives a call its answer; false when it has left.
func (c *calls) settle(correlation uint64, o outcome) bool {
	c.mu.Lock()
	end := c.waiting[correlation]
	delete(c.waiting, correlation)
	c.mu.Unlock()
	if end == nil {
		return false
	}
	end <- o // never blocks: who takes a call from the map is the only one to send
	return true
}

// Call implements Caller.
func (c *Client) Call(ctx context.Context, topic string, key, request []byte, budget time.Duration) ([]byte, error) {
	answer, err := c.call(ctx, topic, key, request, budget)
	label := "answered"
	switch {
	case err == nil:
	case errors.Is(err, ErrBudget):
		label = "budget"
	case ctx.Err() != nil:
		label = "cancelled"
	default:
		label = "not_sent"
	}
	c.metrics.calls.WithLabelValues(label).Inc()
	return answer, err
}

func (c *Client) call(ctx context.Context, topic string, key, request []byte, budget time.Duration) ([]byte, error) {
	if c.inbox.topic == "" {
		return nil, errNoInbox
	}
	correlation, end, ok := c.calls.enter()
	if !ok {
		return nil, ErrFull
	}
	defer c.calls.leave(correlation)
	err := c.Publish(Message{Topic: topic, Key: key, Value: request, Headers: callHeaders(correlation, budget, c.inbox.topic)},
		func(err error) {
			if err != nil {
				c.calls.settle(correlation, outcome{err: err})
			}
		})
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(budget)
	defer timer.Stop()
	select {
	case o := <-end:
		return o.answer, o.err
	case <-timer.C:
		return nil, ErrBudget
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.life.Done():
		return nil, ErrClosed
	}
}

var errNoInbox = errors.New("bus: this process has no reply topic and can make no calls")

func callHeaders(correlation uint64, budget time.Duration, reply string) []Header {
	numbers := make([]byte, 12)
	binary.BigEndian.PutUint64(numbers, correlation)
	binary.BigEndian.PutUint32(numbers[8:], uint32(max(0, min(budget.Milliseconds(), 1<<31))))
	return []Header{
		{Key: record.Correlation, Value: numbers[:8:8]},
		{Key: record.Budget, Value: numbers[8:]},
		{Key: record.Reply, Value: []byte(reply)},
	}
}
