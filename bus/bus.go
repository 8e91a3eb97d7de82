// Package bus is how messages travel between the members of a fleet: publish with
// acknowledgement, consume owned partitions, call and answer, all over Kafka's wire protocol.
package bus

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-iot/sluice/bus/internal/record"
)

// Errors of the bus. Compare with errors.Is.
var (
	// ErrFull: the partition's queue is full; nothing was taken on. Wait for Room, or refuse.
	ErrFull = errors.New("bus: queue full")
	// ErrDeadline: the bus did not acknowledge by the publish deadline. The message may still arrive.
	ErrDeadline = errors.New("bus: not acknowledged by the deadline")
	// ErrTooLarge: the message is larger than its topic takes.
	ErrTooLarge = errors.New("bus: message too large")
	// ErrClosed: the bus is draining or closed.
	ErrClosed = errors.New("bus: closed")
	// ErrUnavailable: the broker refused, or cannot be reached.
	ErrUnavailable = errors.New("bus: unavailable")
	// ErrBudget: a call was not answered within its budget.
	ErrBudget = errors.New("bus: call not answered within its budget")
)

// Header is one named value beside a message: Key string, Value []byte.
type Header = record.Header

// Message is one record. Partition = Kafka's murmur2 of Key over the topic's partitions.
type Message struct {
	Topic   string
	Key     []byte
	Value   []byte
	Headers []Header
}

// Record is a Message as it was read.
type Record struct {
	Message
	Partition int
	Offset    int64
	// Time is the producer's clock; never compare it with this machine's.
	Time time.Time

	// read is when the record was read: nanoseconds on the client's own clock.
	read int64
}

// Publisher puts messages on the bus.
type Publisher interface {
	// Publish takes m on and returns at once. After nil, done is called exactly once, from a
	// goroutine of the bus and therefore briefly: with nil when every in-sync replica has m, else with the
	// reason (ErrDeadline, ErrUnavailable, ErrTooLarge, ErrClosed). After an error (ErrFull, ErrTooLarge, ErrClosed,
	// ErrUnavailable when the topic is not known) done is never called. done may be nil. Key, Value and Headers are
	// copied: the caller may reuse them as soon as Publish has returned.
	Publish(m Message, done func(error)) error
	// Room returns a channel that is closed when the queue behind m's partition has room again.
	Room(topic string, key []byte) <-chan struct{}
}

// Caller asks the owner of a key and waits for the answer.
type Caller interface {
	// Call publishes request and returns the answer's value, or ErrBudget when budget has passed, or Publish's errors.
	Call(ctx context.Context, topic string, key, request []byte, budget time.Duration) ([]byte, error)
}

// Answerer answers calls found among consumed records.
type Answerer interface {
	// Expired reports whether call is a call whose budget has passed: nobody waits for the answer, so it need not be run.
	Expired(call Record) bool
	// Answer publishes answer to whoever sent call. A record that is no call, or whose budget has passed, is left out (and counted).
	Answer(call Record, answer []byte)
}

// Reader reads one owned partition in order.
type Reader interface {
	// Read returns at least one record, waiting for it, and at most max. The records belong to the caller.
	Read(ctx context.Context, max int) ([]Record, error)
	// Commit says that every record before offset is done with; metadata (may be empty) travels with it.
	Commit(ctx context.Context, offset int64, metadata string) error
	// Committed returns the last committed offset (-1: none yet) and its metadata.
	Committed(ctx context.Context) (offset int64, metadata string, err error)
	Close() error
}

// Tailer reads a topic everyone reads, such as tb.events.
type Tailer interface {
	// Tail calls handle, from one goroutine, for every record of every partition of topic that comes after Tail
	// has found the topics' ends (ready is closed then; it may be nil), until ctx ends. Records are kept for nobody: a reader that was away missed them.
	Tail(ctx context.Context, topic string, ready chan<- struct{}, handle func(Record)) error
	// Silence returns how long ago a topic that is being tailed was last heard of: everything that was
	// acknowledged earlier has been given to handle. It stays below a second while all brokers answer, and is
	// as long as it gets while the topic is not tailed. Of several tails of one topic it tells of the latest.
	Silence(topic string) time.Duration
}

// Past is what a topic held when Historian was asked.
type Past struct {
	// Life is the id the cluster gave the topic when it was made: made anew, it has another.
	Life [16]byte
	// First is the offset of the earliest record, End the one after the last; equal, there is none.
	First, End int64
}

// Historian reads what a topic of one partition that everyone reads holds already.
type Historian interface {
	// Past calls handle for every record from Past.First to before Past.End, in order, and returns. Asked
	// after a Tail is ready, the two together miss nothing. An error leaves it half read: begin again.
	Past(ctx context.Context, topic string, handle func(Record)) (Past, error)
}

// Inbox is the topic this process alone reads: answers to its calls, and messages addressed to it.
type Inbox interface {
	// ReplyTopic is the topic's name; others address this process by it.
	ReplyTopic() string
	// OnMessage sets who is given the records that answer no call. Set it before Run; handle must not block.
	OnMessage(handle func(Record))
	// OnKind sets who is given those of them that carry the header topics.KindHeader = kind; handle must not block.
	OnKind(kind string, handle func(Record))
}

// Partitions opens owned partitions.
type Partitions interface {
	// Partitions returns how many partitions topic has.
	Partitions(ctx context.Context, topic string) (int, error)
	// OpenReader opens one partition at its committed offset, or its earliest when there is none.
	OpenReader(ctx context.Context, topic string, partition int) (Reader, error)
}

// Bus is everything a service gets. *Client is the one implementation.
type Bus interface {
	Publisher
	Caller
	Answerer
	Tailer
	Historian
	Inbox
	Partitions
}
