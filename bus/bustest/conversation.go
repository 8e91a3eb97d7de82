package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
)

// serve gives every record of the stage's topic to handle until the test ends.
func serve(t *testing.T, s *stage, c *bus.Client, handle func(bus.Record)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	t.Cleanup(func() { cancel(); readers.Wait() })
	for p := range Partitions {
		r := s.reader(t, c, p)
		readers.Go(func() {
			defer closeReader(t, r)
			for {
				some, err := r.Read(ctx, 100)
				if err != nil {
					return
				}
				for _, record := range some {
					handle(record)
				}
			}
		})
	}
}

func callsAreAnswered(t *testing.T, s *stage) {
	owner := s.dial(t, "owner", nil)
	serve(t, s, owner, func(r bus.Record) { owner.Answer(r, append([]byte("re: "), r.Value...)) })
	caller := s.dial(t, "caller", nil)
	var calling sync.WaitGroup
	for i := range 50 {
		calling.Go(func() {
			for j := range 20 {
				question := fmt.Sprint(i, j)
				got, err := caller.Call(t.Context(), s.topic, []byte(question), []byte(question), patience)
				if err != nil || string(got) != "re: "+question {
					t.Errorf("call %s: %q %v", question, got, err)
				}
			}
		})
	}
	calling.Wait()
}

// ownCallsAreAnswered: who calls may be who answers. The answer is not published then, and may be overwritten at once.
func ownCallsAreAnswered(t *testing.T, s *stage) {
	registry := prometheus.NewRegistry()
	node := s.dial(t, "node", func(_ *bus.Config, o *bus.Options) { o.Metrics = registry })
	serve(t, s, node, func(r bus.Record) {
		answer := append([]byte("re: "), r.Value...)
		node.Answer(r, answer)
		clear(answer)
	})
	const calls = 20
	for i := range calls {
		question := fmt.Sprint(i)
		got, err := node.Call(t.Context(), s.topic, []byte(question), []byte(question), patience)
		if err != nil || string(got) != "re: "+question {
			t.Errorf("call %s: %q %v", question, got, err)
		}
	}
	// A call may be answered before the brokers' word on its request comes back, and that word is what is counted.
	published := func() float64 { return count(t, registry, "bus_published_messages_total") }
	waitFor(t, "every request is counted", func() bool { return published() >= calls })
	if n := published(); n != calls {
		t.Errorf("%v messages were published for %d calls", n, calls)
	}
}

func callBudget(t *testing.T, s *stage) {
	registry := prometheus.NewRegistry()
	caller := s.dial(t, "caller", func(_ *bus.Config, o *bus.Options) { o.Metrics = registry })
	began := time.Now()
	const budget = 100 * time.Millisecond
	if _, err := caller.Call(t.Context(), s.topic, nil, []byte("anyone?"), budget); !errors.Is(err, bus.ErrBudget) {
		t.Errorf("a call nobody answers: %v, want ErrBudget", err)
	}
	if took := time.Since(began); took < budget || took > budget+patience/4 {
		t.Errorf("a budget of %v took %v", budget, took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := caller.Call(ctx, s.topic, nil, nil, patience); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call: %v", err)
	}

	// An answer with the correlation of a call that has gone is dropped and counted.
	header := bus.Header{Key: "correlation", Value: []byte("12345678")}
	publish(t, caller, bus.Message{Topic: caller.ReplyTopic(), Value: []byte("late"), Headers: []bus.Header{header}})
	waitFor(t, "the late answer is counted", func() bool { return count(t, registry, "bus_late_answers_total") == 1 })
}

func expiredCalls(t *testing.T, s *stage) {
	registry := prometheus.NewRegistry()
	owner := s.dial(t, "owner", func(_ *bus.Config, o *bus.Options) { o.Metrics = registry })
	const budget = 50 * time.Millisecond
	if _, err := owner.Call(t.Context(), s.topic, []byte("k"), []byte("old"), budget); !errors.Is(err, bus.ErrBudget) {
		t.Fatal(err)
	}
	publish(t, owner, bus.Message{Topic: s.topic, Key: []byte("k"), Value: []byte("not a call")})
	records := drain(t, s, owner, 2)
	call, other := records[0], records[1]
	if !owner.Expired(call) {
		t.Error("a call behind a record that is newer by more than its budget has not expired")
	}
	if owner.Expired(other) {
		t.Error("a record that is no call has expired")
	}
	owner.Answer(call, nil)
	owner.Answer(other, nil)
	if got := count(t, registry, "bus_expired_calls_total"); got != 1 {
		t.Errorf("%v expired calls are counted, want 1", got)
	}
}

func inboxMessages(t *testing.T, s *stage) {
	transport, core := s.dial(t, "transport", nil), s.dial(t, "core", nil)
	got := make(chan bus.Record, 10)
	transport.OnMessage(func(r bus.Record) { got <- r })
	for i := range 3 {
		publish(t, core, bus.Message{Topic: transport.ReplyTopic(), Value: fmt.Append(nil, i)})
	}
	for i := range 3 {
		select {
		case r := <-got:
			if string(r.Value) != fmt.Sprint(i) {
				t.Errorf("got %q, want %d", r.Value, i)
			}
		case <-time.After(patience):
			t.Fatalf("message %d does not arrive", i)
		}
	}
	ofKind := make(chan bus.Record, 1)
	transport.OnKind("some", func(r bus.Record) { ofKind <- r })
	for _, kind := range []string{"some", "other"} {
		header := bus.Header{Key: topics.KindHeader, Value: []byte(kind)}
		publish(t, core, bus.Message{Topic: transport.ReplyTopic(), Value: []byte(kind), Headers: []bus.Header{header}})
	}
	for want, from := range map[string]chan bus.Record{"some": ofKind, "other": got} {
		select {
		case r := <-from:
			if string(r.Value) != want {
				t.Errorf("who takes kind %q got %q", want, r.Value)
			}
		case <-time.After(patience):
			t.Fatalf("the message of kind %q does not arrive", want)
		}
	}
}

func tailSeesAll(t *testing.T, s *stage) {
	c := s.dial(t, "tail", nil)
	publish(t, c, bus.Message{Topic: s.topic, Key: []byte("before"), Value: []byte("before")})
	const count = 100
	var tails sync.WaitGroup
	defer tails.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan map[string]int, 2)
	for range cap(seen) {
		ready := make(chan struct{})
		tails.Go(func() {
			got := map[string]int{}
			err := c.Tail(ctx, s.topic, ready, func(r bus.Record) {
				if got[string(r.Value)]++; len(got) == count {
					seen <- got
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("tail ended: %v", err)
			}
		})
		<-ready
	}
	want := map[string]int{}
	for i := range count {
		publish(t, c, bus.Message{Topic: s.topic, Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)})
		want[fmt.Sprint(i)] = 1
	}
	for range cap(seen) {
		select {
		case got := <-seen:
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("a tail saw (-want +got):\n%s", diff)
			}
		case <-time.After(patience):
			t.Fatal("a tail does not see all")
		}
	}
}

// tailSilence: a tail knows how long it has not heard of its topic, and hears all in the end.
func tailSilence(t *testing.T, s *stage) {
	relay := NewRelay(t)
	t.Cleanup(relay.Flow)
	c := s.dial(t, "silent", func(_ *bus.Config, o *bus.Options) { o.Dial = relay.Dial })
	if got := c.Silence(s.topic); got < time.Hour {
		t.Errorf("silence of %v of what is not tailed", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var tails sync.WaitGroup
	defer tails.Wait()
	defer cancel()
	type heard struct {
		value   string
		at      time.Time
		silence time.Duration // while it is not handled yet
	}
	ready, seen := make(chan struct{}), make(chan heard, 10)
	tails.Go(func() {
		_ = c.Tail(ctx, s.topic, ready, func(r bus.Record) { // ctx's end
			at := time.Now()
			seen <- heard{string(r.Value), at, c.Silence(s.topic)}
		})
	})
	<-ready
	for begun := time.Now(); time.Since(begun) < 2*time.Second; time.Sleep(10 * time.Millisecond) {
		if got := c.Silence(s.topic); got > 1500*time.Millisecond { // a second, and a busy machine
			t.Fatalf("silence of %v while the broker answers", got)
		}
	}
	relay.Stall()
	// The read under way is answered with nothing, and that lies on the wire while something is said.
	waitFor(t, "silence", func() bool { return c.Silence(s.topic) > 1500*time.Millisecond })
	publish(t, s.dial(t, "speaker", nil), bus.Message{Topic: s.topic, Key: []byte("k"), Value: []byte("unheard")})
	published := time.Now()
	time.Sleep(100 * time.Millisecond)
	relay.Flow()
	got := <-seen
	if since := got.at.Sub(published); got.value != "unheard" || got.silence < since {
		t.Errorf("heard %q %v after it was published, when the silence was one of %v", got.value, since, got.silence)
	}
	waitFor(t, "the end of the silence", func() bool { return c.Silence(s.topic) < time.Second })
}

// count returns the sum of a counter's values.
func count(t *testing.T, registry *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// waitFor looks until ok.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
