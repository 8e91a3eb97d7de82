package broker

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
)

// TestRefusedBatches holds publishers to what brokers' refusals mean: some pass, some do not.
func TestRefusedBatches(t *testing.T) {
	b, err := Start(DefaultConfig(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	settings := bus.DefaultConfig()
	settings.Brokers = []string{b.Addr()}
	if err := topics.Create(t.Context(), settings.Brokers, topics.Embedded(1, nil, -1), 1); err != nil {
		t.Fatal(err)
	}
	client, err := bus.Dial(t.Context(), settings, bus.Options{Node: "n"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(client.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct {
		name   string
		refuse *kerr.Error
		times  int
		want   error
		tries  int
	}{
		{"the leader moved, and is found", kerr.NotLeaderForPartition, 2, nil, 2},
		{"too few replicas, for longer than attempts last", kerr.NotEnoughReplicas, 5, nil, 5},
		{"too few replicas have what was taken", kerr.NotEnoughReplicasAfterAppend, 10, bus.ErrUnavailable, settings.Attempts},
		{"too large for the topic", kerr.MessageTooLarge, 10, bus.ErrTooLarge, 1},
		{"not allowed", kerr.TopicAuthorizationFailed, 10, bus.ErrUnavailable, 1},
		{"too much waits", kerr.PolicyViolation, 10, bus.ErrUnavailable, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			fault := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: c.refuse, Count: c.times})
			defer fault.Remove()
			done := make(chan error, 1)
			if err := client.Publish(bus.Message{Topic: topics.Core}, func(err error) { done <- err }); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !errors.Is(err, c.want) {
				t.Errorf("ended with %v, want %v", err, c.want)
			}
			if fault.Hits() != c.tries {
				t.Errorf("was tried %d times, want %d", fault.Hits(), c.tries)
			}
		})
	}
}

// TestNoRoom refuses what owners have yet to handle while the disk has no room for it, and nothing else: without
// answers and dead letters nobody would make room. The bound leaves some to what is no device's message.
func TestNoRoom(t *testing.T) {
	produce := func(topic string, size int) *kmsg.ProduceRequest {
		request := kmsg.NewPtrProduceRequest()
		request.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: make([]byte, size)}}}}
		return request
	}
	var room error
	b := newBacklog(800, func() error { return room }, nil)
	full := errors.New("no room")
	for _, c := range []struct {
		topic string
		size  int
		room  error
		want  bool
	}{
		{topics.RuleEngine, 100, full, true},
		{topics.Core, 100, full, true},
		{topics.DeadLetters, 100, full, false},
		{topics.CoreResponses + "n", 100, full, false},
		{topics.RuleEngine, 700, nil, false},
		{topics.RuleEngine + ".Main", 200, nil, true},
		{topics.Core, 200, nil, false},
		{topics.Core, 1, nil, true},
		{topics.DeadLetters, 10_000, nil, false},
	} {
		room = c.room
		if got := b.refuse(produce(c.topic, c.size)); got != c.want {
			t.Errorf("%d bytes for %s beside %d, room %v: refused %v", c.size, c.topic, b.bytes(), c.room, got)
		}
	}
}
