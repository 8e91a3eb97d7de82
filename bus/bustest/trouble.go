package bustest

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
)

// answers collects how messages ended.
type answers struct {
	mu    sync.Mutex
	kinds map[error]int
	slow  time.Duration // the longest from Publish to done
	open  sync.WaitGroup
}

// send publishes m, counting its end if it is taken on.
func (a *answers) send(c *bus.Client, m bus.Message) error {
	began := time.Now()
	a.open.Add(1)
	err := c.Publish(m, func(err error) {
		took := time.Since(began)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.kinds == nil {
			a.kinds = map[error]int{}
		}
		a.kinds[kind(err)]++
		a.slow = max(a.slow, took)
		a.open.Done()
	})
	if err != nil {
		a.open.Done()
	}
	return err
}

func kind(err error) error {
	for _, k := range []error{bus.ErrDeadline, bus.ErrUnavailable, bus.ErrClosed, bus.ErrTooLarge} {
		if errors.Is(err, k) {
			return k
		}
	}
	return err
}

// total returns how many messages have ended.
func (a *answers) total() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, count := range a.kinds {
		n += count
	}
	return n
}

// throughRelay dials through a relay, with short times and the given bounds per topic.
func throughRelay(t *testing.T, s *stage, messages, bytes int) (*bus.Client, *Relay) {
	t.Helper()
	relay := NewRelay(t)
	c := s.dial(t, "relayed", func(config *bus.Config, options *bus.Options) {
		options.Dial = relay.Dial
		options.ReplyPrefix = ""
		config.QueueMessages, config.QueueBytes = messages, bytes
		config.RequestTimeout = 200 * time.Millisecond
		config.PublishDeadline = time.Second
		config.DrainTimeout = 300 * time.Millisecond
	})
	return c, relay
}

func fullQueue(t *testing.T, s *stage) {
	const bound = 20 // messages, of both partitions together
	c, relay := throughRelay(t, s, bound, 1<<20)
	m := bus.Message{Topic: s.topic, Key: []byte("k"), Value: []byte("v")}
	publish(t, c, m)
	relay.Stall()
	var ends answers
	taken := 0
	for ; taken < 2*bound; taken++ {
		if err := ends.send(c, m); err != nil {
			if !errors.Is(err, bus.ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if taken != bound/Partitions {
		t.Errorf("%d messages were taken on, want %d", taken, bound/Partitions)
	}
	room := c.Room(m.Topic, m.Key)
	select {
	case <-room:
		t.Error("there is room in a full queue")
	default:
	}
	relay.Flow()
	select {
	case <-room:
	case <-time.After(patience):
		t.Fatal("no word of room")
	}
	if err := ends.send(c, m); err != nil {
		t.Errorf("after room: %v", err)
	}
	ends.open.Wait()
}

func tooLarge(t *testing.T, s *stage) {
	c := s.dial(t, "large", nil)
	done := func(error) { t.Error("done was called for a refused message") }
	if err := c.Publish(bus.Message{Topic: s.topic, Value: make([]byte, 1<<20)}, done); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("1 MiB: %v, want ErrTooLarge", err)
	}
}

// stalledBroker: the broker stops reading under load. Memory stays within the bound, every message
// is answered by its deadline, and afterwards everything works again.
func stalledBroker(t *testing.T, s *stage) {
	const bytes = 4 << 20
	c, relay := throughRelay(t, s, 1<<20, bytes)
	m := bus.Message{Topic: s.topic, Value: make([]byte, 1000)}
	keys := [][]byte{[]byte("a"), []byte("b"), []byte("c"), []byte("d")}
	for _, m.Key = range keys {
		publish(t, c, m)
	}
	before := heap()
	relay.Stall()
	var ends answers
	full := 0
	for began := time.Now(); time.Since(began) < 1500*time.Millisecond; {
		for _, m.Key = range keys {
			if ends.send(c, m) != nil {
				full++
			}
		}
		if full > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	// Buffers grow by doubling; then there are the callbacks, and the relay's own.
	if grown := heap() - before; full == 0 || grown > 4*bytes {
		t.Errorf("the heap grew by %d KB with %d KB allowed to wait; %d messages were refused", grown>>10, bytes>>10, full)
	}
	ends.open.Wait()
	if ends.kinds[nil] > 0 || ends.kinds[bus.ErrDeadline] == 0 {
		t.Errorf("answers: %v, want deadlines", ends.kinds)
	}
	if limit := 1500 * time.Millisecond; ends.slow > limit {
		t.Errorf("an answer took %v with a deadline of 1 s", ends.slow)
	}
	relay.Flow()
	eventuallyPublishes(t, c, m)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// eventuallyPublishes publishes m until it is acknowledged.
func eventuallyPublishes(t *testing.T, c *bus.Client, m bus.Message) {
	t.Helper()
	for began := time.Now(); time.Since(began) < patience; {
		done := make(chan error, 1)
		if c.Publish(m, func(err error) { done <- err }) == nil && <-done == nil {
			return
		}
	}
	t.Errorf("nothing is acknowledged within %v", patience)
}

// brokerAwayAndBack: what is published while the broker is away for less than the deadline is
// acknowledged, in order, without anybody's doing.
func brokerAwayAndBack(t *testing.T, s *stage) {
	c, relay := throughRelay(t, s, 1000, 1<<20)
	partition := keyed(t, s, c, 1)
	r := s.reader(t, c, partition)
	defer closeReader(t, r)
	next(t, r, 1)
	relay.Cut()
	var ends answers
	for i := range 100 {
		if err := ends.send(c, bus.Message{Topic: s.topic, Key: []byte("k"), Value: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	relay.Mend()
	ends.open.Wait()
	if ends.kinds[nil] != 100 {
		t.Errorf("answers: %v, want all acknowledged", ends.kinds)
	}
	inOrderWithRepeats(t, r, 100)
}

// inOrderWithRepeats reads the numbers from 0 to below count. What was on the wire when a connection broke may have arrived
// and be sent again: then it, and what came with it, is read twice.
func inOrderWithRepeats(t *testing.T, r bus.Reader, count int) {
	t.Helper()
	for wanted := 0; wanted < count; {
		got := next(t, r, 1)[0]
		number, err := strconv.Atoi(string(got.Value))
		switch {
		case err != nil || number > wanted:
			t.Fatalf("read %q, want %d", got.Value, wanted)
		case number == wanted:
			wanted++
		}
	}
}

func closeFlushes(t *testing.T, s *stage) {
	c := s.dial(t, "flush", nil)
	var ends answers
	const count = 5000
	for i := range count {
		if err := ends.send(c, bus.Message{Topic: s.topic, Key: fmt.Append(nil, i), Value: make([]byte, 100)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if ends.kinds[nil] != count {
		t.Errorf("answers at close: %v, want %d acknowledged", ends.kinds, count)
	}
	m := bus.Message{Topic: s.topic}
	if err := c.Publish(m, nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("publish after close: %v", err)
	}
	select {
	case <-c.Room(m.Topic, m.Key):
	case <-time.After(patience):
		t.Error("whoever waits for room in a closed bus waits for ever")
	}
	if got := len(drain(t, s, s.dial(t, "reader", nil), count)); got != count {
		t.Errorf("%d messages are stored, want %d", got, count)
	}
}

func closeGivesUp(t *testing.T, s *stage) {
	c, relay := throughRelay(t, s, 1000, 1<<20)
	m := bus.Message{Topic: s.topic, Key: []byte("k")}
	publish(t, c, m)
	relay.Stall()
	var ends answers
	for range 100 {
		if err := ends.send(c, m); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("close took %v with a drain time-out of 300 ms", took)
	}
	if ends.total() != 100 || ends.kinds[nil] > 0 {
		t.Errorf("answers at close: %v, want 100 refusals", ends.kinds)
	}
}
