package bustest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
)

// run runs c until the test ends and returns where Run's error comes.
func run(t *testing.T, c *bus.Client) <-chan error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		ended <- c.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-over })
	return ended
}

// dialRelayed dials through a relay without seeing to the client's end: it is cut off before it is closed.
func (s *stage) dialRelayed(t *testing.T, node string, change func(*bus.Config, *bus.Options)) (*bus.Client, *Relay) {
	t.Helper()
	relay := NewRelay(t)
	config := Config(t, s.address)
	options := bus.Options{Node: node + "-" + s.suffix, ReplyPrefix: topics.CoreResponses, Dial: relay.Dial}
	if change != nil {
		change(&config, &options)
	}
	c, err := bus.Dial(t.Context(), config, options)
	if err != nil {
		t.Fatal(err)
	}
	return c, relay
}

// crash cuts a client off, as a kill does, and then ends what is left of it here.
func crash(c *bus.Client, relay *Relay) {
	relay.Cut()
	_ = c.Close() // it cannot delete its reply topic
}

// goesOn fails if a client has ended, or does not get what is sent to it.
func goesOn(t *testing.T, c *bus.Client, ended <-chan error) {
	t.Helper()
	got := make(chan struct{}, 100)
	c.OnMessage(func(bus.Record) { got <- struct{}{} })
	publish(t, c, bus.Message{Topic: c.ReplyTopic(), Value: []byte("still there?")})
	select {
	case <-got:
	case err := <-ended:
		t.Errorf("it ended: %v", err)
	case <-time.After(patience):
		t.Error("what is sent to it does not arrive")
	}
}

func endsAsTaken(t *testing.T, node string, ended <-chan error) {
	t.Helper()
	began := time.Now()
	select {
	case err := <-ended:
		if !errors.Is(err, bus.ErrTaken) || !strings.Contains(err.Error(), node) {
			t.Errorf("ended with %v, want that %s is taken", err, node)
		}
		t.Logf("ended after %v", time.Since(began).Round(time.Millisecond))
	case <-time.After(patience):
		t.Fatal("it goes on beside the other")
	}
}

func twoOfOneName(t *testing.T, s *stage) {
	older := s.dial(t, "same", nil)
	olderEnded := run(t, older)
	waitFor(t, "its hello, which makes it the older", func() bool {
		said := 0
		_, err := older.Past(t.Context(), older.ReplyTopic(), func(bus.Record) { said++ })
		return err == nil && said > 0
	})
	younger := s.dial(t, "same", nil)
	endsAsTaken(t, "same-"+s.suffix, run(t, younger))
	goesOn(t, older, olderEnded)
	// The name is free again once its holder has ended in order.
	if err := older.Close(); err != nil {
		t.Error(err)
	}
	third := s.dial(t, "same", nil)
	goesOn(t, third, run(t, third))
}

func killedPredecessor(t *testing.T, s *stage) {
	crash(s.dialRelayed(t, "same", nil))
	c := s.dial(t, "same", nil)
	ended := run(t, c)
	goesOn(t, c, ended)
	select {
	case err := <-ended:
		t.Errorf("ended although its predecessor is dead: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	goesOn(t, c, ended)
}

func haltedPredecessor(t *testing.T, s *stage) {
	halted, relay := s.dialRelayed(t, "same", nil)
	haltedEnded := run(t, halted)
	goesOn(t, halted, haltedEnded) // its hello is in the topic
	relay.Stall()
	const grace = 200 * time.Millisecond
	c := s.dial(t, "same", func(config *bus.Config, _ *bus.Options) { config.PublishDeadline = grace })
	ended := run(t, c)
	time.Sleep(3 * grace)
	goesOn(t, c, ended)
	relay.Flow()
	endsAsTaken(t, "same-"+s.suffix, haltedEnded)
	goesOn(t, c, ended)
}
