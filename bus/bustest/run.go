package bustest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
)

// patience is how long the suite waits for what should come at once.
const patience = 20 * time.Second

// Run holds the bus to its contract on the broker at the address that open returns. The broker
// may be shared: every test uses names of its own.
func Run(t *testing.T, open func(t testing.TB) (address string)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s *stage)
	}{
		{"order per key", orderPerKey},
		{"acknowledged is stored", acknowledgedIsStored},
		{"headers and empty fields survive", fieldsSurvive},
		{"what was not committed comes again", redelivery},
		{"a lost offset means earliest", lostOffset},
		{"an interrupted read loses nothing", interruptedRead},
		{"a full queue refuses and tells of room", fullQueue},
		{"too large is refused at once", tooLarge},
		{"a stalled broker: bounded, answered by the deadline", stalledBroker},
		{"a broker away and back", brokerAwayAndBack},
		{"close flushes", closeFlushes},
		{"close does not wait for ever", closeGivesUp},
		{"calls are answered", callsAreAnswered},
		{"a client's own calls are answered", ownCallsAreAnswered},
		{"calls end with their budget", callBudget},
		{"expired calls are not run", expiredCalls},
		{"a group shares a topic", groupReads},
		{"messages to a reply topic arrive", inboxMessages},
		{"a tail sees everything after its start", tailSeesAll},
		{"a tail knows how long it has heard nothing", tailSilence},
		{"the past of a topic is read", pastIsRead},
		{"of two processes with one name the older goes on", twoOfOneName},
		{"a killed predecessor does not disturb", killedPredecessor},
		{"a halted predecessor ends when it goes on", haltedPredecessor},
		{"lag is known", lagIsKnown},
		{"commits are made again", commitsAreRenewed},
		{"reply topics nobody reads are deleted", abandonedReplies},
		{"topics' names have a prefix", prefixedNames},
		{"a topic deleted and made again", topicMadeAgain},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newStage(t, open(t))) })
	}
}

// stage is one test's broker and names.
type stage struct {
	address string
	suffix  string
	topic   string
}

// newStage makes an owned topic for one test.
func newStage(t *testing.T, address string) *stage {
	t.Helper()
	s := &stage{address: address, suffix: rand.Text()}
	s.topic = topics.RuleEngine + "." + s.suffix
	s.create(t, s.topic, Partitions)
	return s
}

func (s *stage) create(t *testing.T, name string, partitions int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	spec := topics.Spec{Name: name, Partitions: partitions, Retention: time.Hour, MaxBytes: 1 << 20}
	if err := topics.Create(ctx, []string{s.address}, []topics.Spec{spec}, 1); err != nil {
		t.Fatal(err)
	}
}

// dial returns a client whose reply topic ends in node; settings and options may be changed.
func (s *stage) dial(t *testing.T, node string, change func(*bus.Config, *bus.Options)) *bus.Client {
	t.Helper()
	config := Config(t, s.address)
	config.Group = "bustest-" + s.suffix
	options := bus.Options{Node: node + "-" + s.suffix, ReplyPrefix: topics.CoreResponses, Metrics: prometheus.NewRegistry()}
	if change != nil {
		change(&config, &options)
	}
	return DialConfig(t, config, options)
}

// reader opens a partition of the stage's topic.
func (s *stage) reader(t *testing.T, c *bus.Client, partition int) bus.Reader {
	t.Helper()
	r, err := c.OpenReader(t.Context(), s.topic, partition)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func closeReader(t *testing.T, r bus.Reader) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// publish sends one message and waits for its acknowledgement.
func publish(t *testing.T, c *bus.Client, m bus.Message) {
	t.Helper()
	done := make(chan error, 1)
	if err := c.Publish(m, func(err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// next reads count records.
func next(t *testing.T, r bus.Reader, count int) []bus.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []bus.Record
	for len(all) < count {
		some, err := r.Read(ctx, count-len(all))
		if err != nil {
			t.Fatalf("after %d of %d records: %v", len(all), count, err)
		}
		all = append(all, some...)
	}
	return all
}

func orderPerKey(t *testing.T, s *stage) {
	const keys, each = 8, 2000
	c := s.dial(t, "order", nil)
	var publishing, acknowledged sync.WaitGroup
	for k := range keys {
		publishing.Go(func() {
			key := fmt.Appendf(nil, "device-%d", k)
			for i := range each {
				m := bus.Message{Topic: s.topic, Key: key, Value: binary.BigEndian.AppendUint32(nil, uint32(i))}
				acknowledged.Add(1)
				err := c.Publish(m, func(err error) {
					if err != nil {
						t.Errorf("%s %d: %v", key, i, err)
					}
					acknowledged.Done()
				})
				if err != nil {
					t.Errorf("%s %d: %v", key, i, err)
					acknowledged.Done()
				}
			}
		})
	}
	publishing.Wait()
	acknowledged.Wait()

	counts := map[string]uint32{}
	where := map[string]int{}
	for _, r := range drain(t, s, c, keys*each) {
		key := string(r.Key)
		if got, want := binary.BigEndian.Uint32(r.Value), counts[key]; got != want {
			t.Fatalf("%s: message %d where %d should be", key, got, want)
		}
		counts[key]++
		if p, seen := where[key]; seen && p != r.Partition {
			t.Fatalf("%s: on partitions %d and %d", key, p, r.Partition)
		}
		where[key] = r.Partition
	}
	for key, n := range counts {
		if n != each {
			t.Errorf("%s: %d messages, want %d", key, n, each)
		}
	}
}

// drain reads count records from all partitions of the stage's topic, each partition's in order.
func drain(t *testing.T, s *stage, c *bus.Client, count int) []bus.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	packs := make(chan []bus.Record)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	for p := range Partitions {
		r := s.reader(t, c, p)
		readers.Go(func() {
			defer closeReader(t, r)
			for {
				some, err := r.Read(ctx, 500)
				if err != nil {
					return
				}
				select {
				case packs <- some:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	var all []bus.Record
	for len(all) < count {
		select {
		case some := <-packs:
			all = append(all, some...)
		case <-ctx.Done():
			t.Fatalf("%d of %d records within %v", len(all), count, patience)
		}
	}
	return all
}

func acknowledgedIsStored(t *testing.T, s *stage) {
	publish(t, s.dial(t, "writer", nil), bus.Message{Topic: s.topic, Key: []byte("k"), Value: []byte("kept")})
	if got := drain(t, s, s.dial(t, "reader", nil), 1)[0]; string(got.Value) != "kept" {
		t.Errorf("read %q", got.Value)
	}
}

func fieldsSurvive(t *testing.T, s *stage) {
	c := s.dial(t, "fields", nil)
	messages := []bus.Message{
		{Topic: s.topic, Key: []byte("k"), Value: []byte("v"), Headers: []bus.Header{{Key: "kind", Value: []byte("rule")}, {Key: "other"}, {Key: "", Value: []byte{0}}}},
		{Topic: s.topic, Key: []byte("k"), Value: []byte{}},
		{Topic: s.topic, Key: []byte("k")},
		{Topic: s.topic, Key: []byte("k"), Value: make([]byte, 700_000)},
	}
	for _, m := range messages {
		publish(t, c, m)
	}
	for i, got := range drain(t, s, c, len(messages)) {
		want := messages[i]
		same := slices.EqualFunc(got.Headers, want.Headers, func(a, b bus.Header) bool { return a.Key == b.Key && string(a.Value) == string(b.Value) })
		if string(got.Key) != "k" || string(got.Value) != string(want.Value) || (got.Value == nil) != (want.Value == nil) || !same {
			t.Errorf("message %d: read key %q, %d bytes (nil %v), headers %v", i, got.Key, len(got.Value), got.Value == nil, got.Headers)
		}
		if age := time.Since(got.Time); age < 0 || age > time.Minute {
			t.Errorf("message %d: published %v ago", i, age)
		}
	}
}

// keyed publishes count messages under one key and returns their partition.
func keyed(t *testing.T, s *stage, c *bus.Client, count int) int {
	t.Helper()
	for i := range count {
		publish(t, c, bus.Message{Topic: s.topic, Key: []byte("k"), Value: fmt.Append(nil, i)})
	}
	return drain(t, s, c, 1)[0].Partition
}

func redelivery(t *testing.T, s *stage) {
	c := s.dial(t, "redelivery", nil)
	partition := keyed(t, s, c, 10)
	steps := []struct{ expect, read, commit int }{
		{0, 10, 0}, // nothing committed: all again
		{0, 6, 6},
		{6, 4, 0},
		{6, 1, 7},
		{7, 3, 10},
	}
	for i, step := range steps {
		r := s.reader(t, c, partition)
		for j, got := range next(t, r, step.read) {
			if want := fmt.Sprint(step.expect + j); string(got.Value) != want {
				t.Fatalf("step %d: read %q, want %q", i, got.Value, want)
			}
		}
		if step.commit > 0 {
			if err := r.Commit(t.Context(), int64(step.commit), fmt.Sprint("epoch ", i)); err != nil {
				t.Fatal(err)
			}
			offset, metadata, err := r.Committed(t.Context())
			if err != nil || offset != int64(step.commit) || metadata != fmt.Sprint("epoch ", i) {
				t.Errorf("step %d: committed %d %q %v", i, offset, metadata, err)
			}
		}
		closeReader(t, r)
	}
}

func lostOffset(t *testing.T, s *stage) {
	c := s.dial(t, "lost", nil)
	partition := keyed(t, s, c, 3)
	r := s.reader(t, c, partition)
	if err := r.Commit(t.Context(), 1000, ""); err != nil { // beyond the end, as after the loss of a log
		t.Fatal(err)
	}
	closeReader(t, r)
	r = s.reader(t, c, partition)
	defer closeReader(t, r)
	if got := next(t, r, 3)[0]; got.Offset != 0 || string(got.Value) != "0" {
		t.Errorf("read %q at %d, want the earliest", got.Value, got.Offset)
	}
}

func interruptedRead(t *testing.T, s *stage) {
	c := s.dial(t, "interrupted", nil)
	partition := keyed(t, s, c, 1)
	r := s.reader(t, c, partition)
	defer closeReader(t, r)
	next(t, r, 1)
	for i := 1; i <= 20; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, err := r.Read(ctx, 10)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("read of nothing: %v", err)
		}
		publish(t, c, bus.Message{Topic: s.topic, Key: []byte("k"), Value: fmt.Append(nil, i)})
		if got := next(t, r, 1)[0]; string(got.Value) != fmt.Sprint(i) {
			t.Fatalf("read %q, want %d", got.Value, i)
		}
	}
}
