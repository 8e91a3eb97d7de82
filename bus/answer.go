package bus

import (
	"bytes"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-iot/sluice/bus/internal/record"
)

// incoming are a call's headers as its answerer finds them.
type incoming struct {
	correlation []byte
	budget      time.Duration
	reply       string
}

// callOf returns the call in r; ok is false when r is none.
func callOf(r *Record) (call incoming, ok bool) {
	budget := []byte(nil)
	for i := range r.Headers {
		switch h := &r.Headers[i]; h.Key {
		case record.Correlation:
			call.correlation = h.Value
		case record.Budget:
			budget = h.Value
		case record.Reply:
			call.reply = string(h.Value)
		}
	}
	if len(call.correlation) != 8 || len(budget) != 4 || !isReply(call.reply) {
		return incoming{}, false
	}
	call.budget = time.Duration(binary.BigEndian.Uint32(budget)) * time.Millisecond
	return call, true
}

// Answer implements Answerer.
func (c *Client) Answer(r Record, answer []byte) {
	call, ok := callOf(&r)
	if !ok {
		return
	}
	if c.age(&r) >= call.budget {
		c.metrics.expired.Inc()
		return
	}
	if c.answerHere(call, answer) {
		return
	}
	m := Message{
		Topic: call.reply, Key: call.correlation, Value: answer,
		Headers: []Header{{Key: record.Correlation, Value: call.correlation}},
	}
	if err := c.Publish(m, nil); err != nil {
		// The caller's budget ends the call; its own counter and the queue's tell of it.
		c.log.Debug("publish answer", "topic", call.reply, "err", err)
	}
}

// answerHere answers a call of this very client without the bus: an answer need not outlive who waits for it. false: nobody
// here does.
func (c *Client) answerHere(call incoming, answer []byte) bool {
	return call.reply == c.inbox.topic &&
		c.calls.settle(binary.BigEndian.Uint64(call.correlation), outcome{answer: bytes.Clone(answer)})
}

// Expired implements Answerer.
func (c *Client) Expired(r Record) bool {
	call, ok := callOf(&r)
	return ok && c.age(&r) >= call.budget
}

// Age returns how long ago r was published, as far as the records of its own partition can tell; it is never too long by a
// clock that is wrong, and too short for a record that is the newest of its partition.
func (c *Client) Age(r Record) time.Duration { return c.age(&r) }

// age is how long ago r was published, as far as its own partition's records can tell: how much
// newer the newest record read from there is, plus the time r has been here. Clocks of different machines are not compared
// with one another.
func (c *Client) age(r *Record) time.Duration {
	behind := time.Duration(0)
	if newest := c.marks.newest(r.Topic, r.Partition); newest != 0 {
		behind = max(0, time.Duration(newest-r.Time.UnixMilli())*time.Millisecond)
	}
	return behind + time.Duration(c.now()-r.read)
}

// marks holds the newest record time (ms since 1970) read from each partition that has a reader.
type marks struct{ partitions sync.Map }

type markKey struct {
	topic     string
	partition int
}

// of returns the mark of a partition.
func (m *marks) of(topic string, partition int) *atomic.Int64 {
	mark, _ := m.partitions.LoadOrStore(markKey{topic, partition}, new(atomic.Int64))
	newest, _ := mark.(*atomic.Int64)
	return newest
}

func (m *marks) newest(topic string, partition int) int64 {
	if mark, ok := m.partitions.Load(markKey{topic, partition}); ok {
		if newest, ok := mark.(*atomic.Int64); ok {
			return newest.Load()
		}
	}
	return 0
}
