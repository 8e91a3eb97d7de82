package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus/internal/record"
)

// queue is what waits for one partition's leader. Publishers append to its last batch; one
// goroutine sends the first. What arrives while a request is under way becomes the next batch, so batches
// grow with the load and nobody waits for company. Nothing is dropped for being late to be sent, only
// what its publisher has been told is lost.
type queue struct {
	client      *Client
	topic       *topic
	partition   int
	maxMessages int
	maxBytes    int
	counters    *publishCounters

	mu       sync.Mutex
	waiting  []*batch // in order; the last one is being filled
	flying   *batch   // being sent
	messages int      // in waiting and flying
	bytes    int
	vacancy  chan struct{} // closed when there is room again; nil when nobody waits
	started  bool          // the sender runs
	closed   bool
	retired  bool  // closed because nobody needed it
	used     int64 // the client's clock when something was last taken on
	spare    *batch

	wake  chan struct{} // tells the sender that there is something, or that it is over
	empty chan struct{} // closed when the queue is closed and everyone has been answered
}

// batch is some messages of one partition that travel in one request.
type batch struct {
	records record.Batch
	bytes   int // as counted against the queue's bound
	entries []entry
	expired int // entries before this one were told that the deadline passed
}

// entry is who waits for one message.
type entry struct {
	done func(error)
	at   int64 // the client's clock when it was taken on
}

// keepBytes is the largest batch memory that an idle queue keeps.
const keepBytes = 64 << 10

func newQueue(c *Client, t *topic, partition, partitions int, counters *publishCounters) *queue {
	return &queue{
		client: c, topic: t, partition: partition, counters: counters,
		used:        c.now(),
		maxMessages: max(1, c.config.QueueMessages/partitions),
		maxBytes:    max(1, c.config.QueueBytes/partitions),
		wake:        make(chan struct{}, 1), empty: make(chan struct{}),
	}
}

// put appends m, which takes at most size bytes. The bytes' bound is exceeded by one message at most.
func (q *queue) put(m Message, size int, done func(error)) error {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.retired {
		return errRetired
	}
	if q.closed {
		return ErrClosed
	}
	if q.full() {
		q.counters.full.Inc()
		return ErrFull
	}
	b := q.last(size)
	b.records.Append(m.Key, m.Value, m.Headers, now.UnixMilli())
	q.used = int64(now.Sub(q.client.start))
	b.entries = append(b.entries, entry{done: done, at: q.used})
	b.bytes += size
	q.messages++
	q.bytes += size
	if q.messages == 1 {
		q.signal()
	}
	return nil
}

func (q *queue) full() bool { return q.messages >= q.maxMessages || q.bytes >= q.maxBytes }

// last returns the batch that takes the next size bytes.
func (q *queue) last(size int) *batch {
	if n := len(q.waiting); n > 0 {
		if b := q.waiting[n-1]; b.records.Len()+size <= q.client.config.BatchBytes {
			return b
		}
	}
	b := q.spare
	if q.spare = nil; b == nil {
		b = new(batch)
	}
	q.waiting = append(q.waiting, b)
	return b
}

// signal wakes the sender, starting it the first time.
func (q *queue) signal() {
	if !q.started && !q.closed {
		q.started = true
		q.client.running.Go(q.run)
	}
	select {
	case q.wake <- struct{}{}:
	default: // it has been told and not looked yet
	}
}

// room returns a channel that is closed once the queue is not full.
func (q *queue) room() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || !q.full() {
		return open
	}
	if q.vacancy == nil {
		q.vacancy = make(chan struct{})
	}
	return q.vacancy
}

// take returns the next batch to send, nil when there is none; over says that there will be none.
func (q *queue) take() (b *batch, over bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return nil, q.closed
	}
	b = q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	q.flying = b
	return b, false
}

// finish answers everyone in b who has not been told yet and makes room.
func (q *queue) finish(b *batch, err error) {
	q.mu.Lock()
	if q.flying == b {
		q.flying = nil
	}
	q.release(b)
	q.mu.Unlock()

	q.counters.count(err, len(b.entries)-b.expired)
	if err == nil {
		q.counters.late.Add(float64(b.expired))
	}
	for i := b.expired; i < len(b.entries); i++ {
		if done := b.entries[i].done; done != nil {
			done(err)
		}
	}
	q.recycle(b)
}

// release gives back what b held of the bound.
func (q *queue) release(b *batch) {
	q.messages -= len(b.entries)
	q.bytes -= b.bytes
	if q.vacancy != nil && !q.full() {
		close(q.vacancy)
		q.vacancy = nil
	}
}

// recycle keeps b's memory for the next batch. While batches follow one another it is kept
// whatever its size; the first small batch lets it go.
func (q *queue) recycle(b *batch) {
	keep := keepBytes
	if b.records.Len() > keepBytes/2 {
		keep = 2 * q.client.config.BatchBytes
	}
	b.records.Reset(keep)
	clear(b.entries)
	if cap(b.entries)*32 > keep {
		b.entries = nil
	}
	*b = batch{records: b.records, entries: b.entries[:0]}
	q.mu.Lock()
	if q.spare == nil {
		q.spare = b
	}
	q.mu.Unlock()
}

// expire tells everyone taken on at or before limit that the deadline passed. Batches of
// which nobody is left and that are not being sent are dropped.
func (q *queue) expire(limit int64) {
	var late []func(error)
	q.mu.Lock()
	if q.flying != nil {
		late = q.flying.expire(limit, late)
	}
	for len(q.waiting) > 0 {
		b := q.waiting[0]
		late = b.expire(limit, late)
		if b.expired < len(b.entries) {
			break
		}
		q.waiting = q.waiting[1:]
		q.release(b)
	}
	q.mu.Unlock()
	q.counters.count(ErrDeadline, len(late))
	for _, done := range late {
		if done != nil {
			done(ErrDeadline)
		}
	}
}

func (b *batch) expire(limit int64, late []func(error)) []func(error) {
	for b.expired < len(b.entries) && b.entries[b.expired].at <= limit {
		late = append(late, b.entries[b.expired].done)
		b.expired++
	}
	return late
}

// told reports whether everyone in the batch being sent has had an answer.
func (q *queue) told(b *batch) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return b.expired == len(b.entries)
}

var errRetired = errors.New("bus: queue retired")

// retire closes the queue if it is empty and nothing was taken on since the given time.
func (q *queue) retire(since int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.messages > 0 || q.used > since {
		return false
	}
	q.retired, q.closed = true, true
	q.signal()
	return true
}

// close takes nothing more on.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.vacancy != nil {
		close(q.vacancy)
		q.vacancy = nil
	}
	if !q.started {
		q.started = true
		close(q.empty)
	}
	q.signal()
}

// drained waits until everyone has been answered or ctx ends.
func (q *queue) drained(ctx context.Context) {
	select {
	case <-q.empty:
	case <-ctx.Done():
	}
}
