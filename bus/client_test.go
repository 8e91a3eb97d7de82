package bus

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus/broker"
	"github.com/sluice-iot/sluice/bus/topics"
)

// dialTest returns a client of a new broker.
func dialTest(t *testing.T, change func(*Config)) *Client {
	t.Helper()
	b, err := broker.Start(broker.DefaultConfig(), broker.Options{Group: "sluice"})
	if err != nil {
		t.Fatal(err)
	}
	config := DefaultConfig()
	config.Brokers = []string{b.Addr()}
	if change != nil {
		change(&config)
	}
	c, err := Dial(t.Context(), config, Options{Node: "n", ReplyPrefix: topics.CoreResponses})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func send(t *testing.T, c *Client, topic string) error {
	t.Helper()
	done := make(chan error, 1)
	if err := c.Publish(Message{Topic: topic}, func(err error) { done <- err }); err != nil {
		return err
	}
	return <-done
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// TestQueuesOfGoneProcessesAreDropped: reply topics come and go; what is kept for them goes, too.
func TestQueuesOfGoneProcessesAreDropped(t *testing.T) {
	c := dialTest(t, func(config *Config) {
		config.ReplyRetention, config.PublishDeadline = 20*time.Millisecond, 200*time.Millisecond
	})
	before := len(*c.topics.Load())
	for i := range 50 {
		_ = c.Publish(Message{Topic: topics.CoreResponses + fmt.Sprint("gone-", i)}, nil) // nobody reads it: there is no such topic
	}
	if got := len(*c.topics.Load()); got != before+50 {
		t.Errorf("%d topics, want %d", got, before+50)
	}
	eventually(t, "the queues are dropped", func() bool { return len(*c.topics.Load()) == before })
	if err := send(t, c, c.ReplyTopic()); err != nil {
		t.Errorf("a topic that is used again: %v", err)
	}
}

// TestLostReplyTopicIsMadeAgain: whoever tidies up may take a slow process for a dead one.
func TestLostReplyTopicIsMadeAgain(t *testing.T) {
	c := dialTest(t, func(config *Config) { config.FetchWait = 50 * time.Millisecond })
	got := make(chan struct{}, 100)
	c.OnMessage(func(Record) { got <- struct{}{} })
	if err := c.dialer.Delete(t.Context(), c.ReplyTopic()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a message arrives at the new topic", func() bool {
		_ = send(t, c, c.ReplyTopic()) // refused until the topic is there again
		select {
		case <-got:
			return true
		default:
			return false
		}
	})
}

// TestUnknownTopics: a topic made after Dial is refused once, then known.
func TestUnknownTopics(t *testing.T) {
	c := dialTest(t, nil)
	if err := send(t, c, topics.Core); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("a topic that does not exist: %v", err)
	}
	if err := topics.Create(t.Context(), c.config.Brokers, topics.Standard(3), 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the topic is known", func() bool { return send(t, c, topics.Core) == nil })
	if n, err := c.Partitions(t.Context(), topics.Core); n != 3 || err != nil {
		t.Errorf("%d partitions, %v", n, err)
	}
	if _, err := c.Partitions(t.Context(), "no such"); err == nil {
		t.Error("a topic that does not exist has partitions")
	}
}

func TestDialWaitsForBrokersOnlySoLong(t *testing.T) {
	config := DefaultConfig()
	config.Brokers, config.ConnectTimeout = []string{"127.0.0.1:1"}, 100*time.Millisecond
	if _, err := Dial(t.Context(), config, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody listens: %v", err)
	}
	config.Attempts = 0
	if _, err := Dial(t.Context(), config, Options{}); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no attempts: %v", err)
	}
}

func TestCallsAreBounded(t *testing.T) {
	c := dialTest(t, func(config *Config) { config.PendingCalls = 1 })
	if _, _, ok := c.calls.enter(); !ok {
		t.Fatal("the first call is refused")
	}
	if _, err := c.Call(t.Context(), topics.Core, nil, nil, time.Second); !errors.Is(err, ErrFull) {
		t.Errorf("a call beyond the bound: %v", err)
	}
}

func TestRunDrains(t *testing.T) {
	c := dialTest(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	done := make(chan error, 1)
	if err := c.Publish(Message{Topic: c.ReplyTopic()}, func(err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("what was taken on: %v", err)
	}
}
