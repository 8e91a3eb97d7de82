package ingest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus"
)

// memoryBus is a bus within the test, so that what the partition does can be timed and broken
// without a broker.
type memoryBus struct {
	partitions int

	mu      sync.Mutex
	changed chan struct{}
	records map[string][]bus.Record // by topic and partition
	commits map[string]commit
	answers [][]byte
	// refuse, if set, is asked for every Publish.
	refuse func(bus.Message) error
}

type commit struct {
	offset   int64
	metadata string
}

func newMemoryBus(partitions int) *memoryBus {
	return &memoryBus{
		partitions: partitions, changed: make(chan struct{}),
		records: map[string][]bus.Record{}, commits: map[string]commit{},
	}
}

func at(topic string, partition int) string { return topic + "/" + strconv.Itoa(partition) }

func (b *memoryBus) Publish(m bus.Message, done func(error)) error {
	b.mu.Lock()
	if b.refuse != nil {
		if err := b.refuse(m); err != nil {
			b.mu.Unlock()
			done(err)
			return nil
		}
	}
	partition := bus.Partition(m.Key, b.partitions)
	key := at(m.Topic, partition)
	b.records[key] = append(b.records[key], bus.Record{Message: m, Partition: partition, Offset: int64(len(b.records[key]))})
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()
	done(nil)
	return nil
}

func (b *memoryBus) of(topic string) []bus.Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []bus.Record
	for _, key := range slices.Sorted(maps.Keys(b.records)) {
		for _, r := range b.records[key] {
			if r.Topic == topic {
				all = append(all, r)
			}
		}
	}
	return all
}

func (b *memoryBus) committed(topic string, partition int) commit {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.commits[at(topic, partition)]
}

func (b *memoryBus) Room(string, []byte) <-chan struct{} {
	room := make(chan struct{})
	close(room)
	return room
}

func (b *memoryBus) Call(context.Context, string, []byte, []byte, time.Duration) ([]byte, error) {
	return nil, errors.New("memory bus: nobody to call")
}

func (b *memoryBus) Answer(_ bus.Record, answer []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = append(b.answers, answer)
}

func (b *memoryBus) Expired(bus.Record) bool { return false }

func (b *memoryBus) Tail(ctx context.Context, _ string, _ chan<- struct{}, _ func(bus.Record)) error {
	<-ctx.Done()
	return nil
}

func (b *memoryBus) Silence(string) time.Duration { return 0 }

func (b *memoryBus) ReplyTopic() string              { return "replies" }
func (b *memoryBus) OnMessage(func(bus.Record))      {}
func (b *memoryBus) OnKind(string, func(bus.Record)) {}

func (b *memoryBus) Partitions(context.Context, string) (int, error) { return b.partitions, nil }

func (b *memoryBus) OpenReader(_ context.Context, topic string, partition int) (bus.Reader, error) {
	key := at(topic, partition)
	return &memoryReader{b: b, key: key, next: b.committed(topic, partition).offset}, nil
}

type memoryReader struct {
	b    *memoryBus
	key  string
	next int64
}

func (r *memoryReader) Read(ctx context.Context, most int) ([]bus.Record, error) {
	for {
		r.b.mu.Lock()
		there, changed := r.b.records[r.key], r.b.changed
		r.b.mu.Unlock()
		if n := min(int64(len(there))-r.next, int64(most)); n > 0 {
			r.next += n
			return slices.Clone(there[r.next-n : r.next]), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *memoryReader) Commit(_ context.Context, offset int64, metadata string) error {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	r.b.commits[r.key] = commit{offset, metadata}
	return nil
}

func (r *memoryReader) Committed(context.Context) (int64, string, error) {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	c, ok := r.b.commits[r.key]
	if !ok {
		return -1, "", nil
	}
	return c.offset, c.metadata, nil
}

func (r *memoryReader) Close() error { return nil }

// Past implements bus.Historian; no topic here has one.
func (*memoryBus) Past(context.Context, string, func(bus.Record)) (bus.Past, error) {
	return bus.Past{}, nil
}
