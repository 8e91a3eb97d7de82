package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
)

// Produce and fetch are framed by hand: kafka-go's would copy every record twice and hand it
// over one by one (https://kafka.apache.org/protocol.html, Produce v7 and Fetch v4: known to every broker since
// 2.0, Kafka 4 included).
const (
	keyProduce, versionProduce = 0, 7
	keyFetch, versionFetch     = 1, 4

	ackAll = -1
	// slack bounds how much larger than asked for an answer may be: a broker returns a batch
	// whole even when it exceeds the limit.
	slack = 16 << 20
)

var errAnswer = errors.New("an answer that does not fit the request")

// Produce appends one sealed batch to a partition and returns once every in-sync replica has
// it. c must lead to the partition's leader. batch is read until Produce returns and not kept.
func (c *Conn) Produce(ctx context.Context, topic string, partition int, batch []byte) error {
	release, err := c.limit(ctx, c.timeout)
	if err != nil {
		return err
	}
	defer release()
	c.begin(keyProduce, versionProduce)
	c.frame.int16(-1) // no transaction
	c.frame.int16(ackAll)
	c.frame.int32(int(c.timeout / time.Millisecond))
	c.frame.partition(c.prefix, topic, partition)
	c.frame.int32(len(batch))
	if err := c.send(batch); err != nil {
		return fmt.Errorf("send batch: %w", err)
	}
	answer, err := c.receive(0)
	if err != nil {
		return fmt.Errorf("await acknowledgement: %w", err)
	}
	code, err := produceAnswer(answer, c.prefix, topic, partition)
	if err != nil {
		return fmt.Errorf("await acknowledgement: %w", err)
	}
	if code != 0 {
		return fmt.Errorf("append batch: %w", code)
	}
	return nil
}

// produceAnswer reads a Produce v7 response to a request for one partition.
func produceAnswer(answer []byte, prefix, topic string, partition int) (kafka.Error, error) {
	f := fields{bytes: answer}
	f.partition(prefix, topic, partition)
	code := kafka.Error(f.int16())
	f.skip(8 + 8 + 8) // base offset, append time, log start
	f.skip(4)         // throttle time
	if f.bad {
		return 0, errAnswer
	}
	return code, nil
}

// Fetch is one question for records of a partition.
type Fetch struct {
	Topic     string
	Partition int
	// Offset is the first wanted; MaxBytes the most to return, one batch at least.
	Offset   int64
	MaxBytes int
	// Wait is how long the broker may hold the question while there is nothing.
	Wait time.Duration
}

// Ask sends q. Exactly one Await that succeeds or fails for another reason than its context must follow
// before anything else is sent. c must lead to the partition's leader.
func (c *Conn) Ask(q Fetch) error {
	if err := c.pc.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return fmt.Errorf("ask for records: %w", err)
	}
	c.begin(keyFetch, versionFetch)
	c.frame.int32(-1) // not a replica
	c.frame.int32(int(q.Wait / time.Millisecond))
	c.frame.int32(1) // answer as soon as there is a byte
	c.frame.int32(q.MaxBytes)
	c.frame.int8(0) // uncommitted transactions: nobody here has any
	c.frame.partition(c.prefix, q.Topic, q.Partition)
	c.frame.int64(q.Offset)
	c.frame.int32(q.MaxBytes)
	if err := c.send(nil); err != nil {
		return fmt.Errorf("ask for records: %w", err)
	}
	return nil
}

// Await returns the answer to q: its batches, which belong to the caller, and the offset after the
// partition's last record. When ctx ends first, the answer is still to come and Await may be called again.
func (c *Conn) Await(ctx context.Context, q Fetch) (batches []byte, end int64, err error) {
	if err := c.ready(ctx, q.Wait); err != nil {
		return nil, 0, err
	}
	release, err := c.limit(context.WithoutCancel(ctx), c.timeout)
	if err != nil {
		return nil, 0, fmt.Errorf("receive records: %w", err)
	}
	defer release()
	answer, err := c.receive(q.MaxBytes)
	if err != nil {
		return nil, 0, fmt.Errorf("receive records: %w", err)
	}
	batches, end, code, err := fetchAnswer(answer, c.prefix, q.Topic, q.Partition)
	if err != nil {
		return nil, 0, fmt.Errorf("receive records: %w", err)
	}
	if code != 0 {
		return nil, 0, fmt.Errorf("read records: %w", code)
	}
	return batches, end, nil
}

// ready waits for the first bytes of an answer without taking them, so that it can be left
// and entered again.
func (c *Conn) ready(ctx context.Context, wait time.Duration) error {
	release, err := c.limit(ctx, wait+c.timeout)
	if err != nil {
		return err
	}
	defer release()
	if _, err := c.pc.Peek(4); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("await records: %w", err)
	}
	return nil
}

// fetchAnswer reads a Fetch v4 response to a request for one partition.
func fetchAnswer(answer []byte, prefix, topic string, partition int) (batches []byte, end int64, code kafka.Error, err error) {
	f := fields{bytes: answer}
	f.skip(4) // throttle time
	f.partition(prefix, topic, partition)
	code = kafka.Error(f.int16())
	end = f.int64()
	f.skip(8) // last stable offset
	for range f.count(16) {
		f.skip(16) // an aborted transaction: nobody here has any
	}
	batches = f.sized()
	if f.bad {
		return nil, 0, 0, errAnswer
	}
	return batches, end, code, nil
}

// begin starts the frame of a request.
func (c *Conn) begin(key, version int) {
	c.correlation++
	c.frame = c.frame[:0]
	c.frame.int32(0) // the size, known last
	c.frame.int16(key)
	c.frame.int16(version)
	c.frame.int32(int(c.correlation))
	c.frame.text(c.clientID)
}

// send writes the frame with tail behind it.
func (c *Conn) send(tail []byte) error {
	c.frame.setSize(len(tail))
	if len(tail) == 0 {
		_, err := c.raw.Write(c.frame)
		return err
	}
	buffers := net.Buffers{c.frame, tail}
	_, err := buffers.WriteTo(c.raw)
	return err
}

// receive reads one answer to the request sent last, asked bytes being what was asked for.
func (c *Conn) receive(asked int) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(c.pc, head[:]); err != nil {
		return nil, err
	}
	f := fields{bytes: head[:]}
	size, correlation := f.int32(), f.int32()
	if correlation != int(c.correlation) || size < 4 || size > asked+slack {
		return nil, errAnswer
	}
	body := make([]byte, size-4)
	_, err := io.ReadFull(c.pc, body)
	return body, err
}
