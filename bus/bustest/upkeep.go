package bustest

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/internal/wire"
	"github.com/sluice-iot/sluice/bus/topics"
)

func lagIsKnown(t *testing.T, s *stage) {
	c := s.dial(t, "lag", nil)
	partition := keyed(t, s, c, 10)
	r := s.reader(t, c, partition)
	defer closeReader(t, r)
	if err := r.Commit(t.Context(), 4, "epoch 3"); err != nil {
		t.Fatal(err)
	}
	lags, err := c.Lag(t.Context(), s.topic)
	if err != nil || len(lags) != Partitions {
		t.Fatalf("%v, %v", lags, err)
	}
	for p, lag := range lags {
		want := bus.PartitionLag{Partition: p, Committed: -1}
		if p == partition {
			want = bus.PartitionLag{Partition: p, Committed: 4, Metadata: "epoch 3", End: 10, Oldest: lag.Oldest, Used: lag.Used}
			if age := time.Since(lag.Oldest); age < 0 || age > time.Minute || lag.Used <= 0 || lag.Used > 0.1 || lag.Waiting() != 6 {
				t.Errorf("the oldest of %d waiting was published %v ago and has used %v of an hour", lag.Waiting(), age, lag.Used)
			}
		}
		if lag != want {
			t.Errorf("partition %d: %+v, want %+v", p, lag, want)
		}
	}
	if _, err := c.Lag(t.Context(), s.topic+".none"); err == nil {
		t.Error("a topic that does not exist has a lag")
	}
}

func commitsAreRenewed(t *testing.T, s *stage) {
	const renewal = time.Second
	registry := prometheus.NewRegistry()
	c := s.dial(t, "renewing", func(config *bus.Config, o *bus.Options) {
		config.CommitRenewal, o.Metrics = renewal, registry
	})
	partition := keyed(t, s, c, 10)
	r := s.reader(t, c, partition)
	defer closeReader(t, r)
	other := s.reader(t, s.dial(t, "other", nil), partition)
	defer closeReader(t, other)
	renewed := func() float64 { return count(t, registry, "bus_commits_renewed_total") }
	expect := func(offset int64, metadata string) {
		t.Helper()
		got, gotMetadata, err := r.Committed(t.Context())
		if got != offset || gotMetadata != metadata || err != nil {
			t.Errorf("committed %d %q %v, want %d %q", got, gotMetadata, err, offset, metadata)
		}
	}
	expect(-1, "")
	if err := r.Commit(t.Context(), 4, "first"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the commit is made again", func() bool { return renewed() == 1 })

	// Another owner's commit is not undone.
	if err := other.Commit(t.Context(), 7, "second"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * renewal / 2)
	expect(7, "second")
	if got := renewed(); got != 1 {
		t.Errorf("%v commits were made again, %v of them over another owner's", got, got-1)
	}
}

func abandonedReplies(t *testing.T, s *stage) {
	own := func(config *bus.Config, _ *bus.Options) {
		config.TopicPrefix = "sweep-" + s.suffix + "." // the broker may be shared
		config.ReplyAbandoned = 1200 * time.Millisecond
	}
	dead, relay := s.dialRelayed(t, "dead", own)
	crash(dead, relay)
	live := s.dial(t, "live", own)
	sweeper := s.dial(t, "sweeper", own)
	done := make(chan struct{})
	go func() { defer close(done); sweeper.SweepReplies(t.Context()) }()
	t.Cleanup(func() { <-done })
	there := func(topic string) bool {
		_, err := sweeper.Partitions(t.Context(), topic)
		return err == nil
	}
	if !there(dead.ReplyTopic()) {
		t.Error("the reply topic of a process that was killed is gone at once")
	}
	waitFor(t, "the topic nobody reads is deleted", func() bool { return !there(dead.ReplyTopic()) })
	if !there(live.ReplyTopic()) || !there(sweeper.ReplyTopic()) {
		t.Error("the topic of a live reader was deleted")
	}
	goesOn(t, live, nil)
}

func prefixedNames(t *testing.T, s *stage) {
	prefix := s.suffix + "."
	specs := topics.Prefixed(prefix, topics.Standard(3))
	if err := topics.Create(t.Context(), []string{s.address}, specs, 1); err != nil {
		t.Fatal(err)
	}
	if n, err := topics.CheckOwned(t.Context(), []string{s.address}, prefix, nil); n != 3 || err != nil {
		t.Errorf("the owned topics have %d partitions, %v", n, err)
	}
	c := s.dial(t, "prefixed", func(config *bus.Config, _ *bus.Options) { config.TopicPrefix = prefix })
	m := bus.Message{Topic: topics.Core, Key: []byte("k"), Value: []byte("v")}
	publish(t, c, m)
	partition := bus.Partition(m.Key, 3)
	r, err := c.OpenReader(t.Context(), topics.Core, partition)
	if err != nil {
		t.Fatal(err)
	}
	if got := next(t, r, 1)[0]; got.Topic != topics.Core || string(got.Value) != "v" {
		t.Errorf("read %+v", got)
	}
	if err := r.Commit(t.Context(), 1, ""); err != nil {
		t.Error(err)
	}
	closeReader(t, r)
	if lags, err := c.Lag(t.Context(), topics.Core); err != nil || lags[partition].Committed != 1 {
		t.Errorf("lag %+v, %v", lags, err)
	}
	goesOn(t, c, nil)
	plain := s.dial(t, "plain", nil)
	for _, name := range []string{prefix + topics.Core, prefix + c.ReplyTopic()} {
		if _, err := plain.Partitions(t.Context(), name); err != nil {
			t.Errorf("on the broker: %v", err)
		}
	}
}

// topicMadeAgain: the offsets of the old one mean nothing in the new one, whatever it holds by then.
func topicMadeAgain(t *testing.T, s *stage) {
	c := s.dial(t, "again", func(config *bus.Config, _ *bus.Options) { config.FetchWait = 100 * time.Millisecond })
	partition := keyed(t, s, c, 10)
	r := s.reader(t, c, partition)
	defer closeReader(t, r)
	next(t, r, 5)
	d := &wire.Dialer{Brokers: []string{s.address}, ClientID: "bustest", Timeout: patience}
	if err := d.Delete(t.Context(), s.topic); err != nil {
		t.Fatal(err)
	}
	read := make(chan bus.Record, 1)
	go func() {
		for { // what is left of the old topic's last answer comes first
			some, err := r.Read(t.Context(), 100)
			if err != nil {
				return
			}
			if string(some[0].Value) == "new" {
				read <- some[0]
				return
			}
		}
	}()
	time.Sleep(500 * time.Millisecond) // the reader finds that the topic is not there
	s.create(t, s.topic, Partitions)
	for range 20 {
		eventuallyPublishes(t, c, bus.Message{Topic: s.topic, Key: []byte("k"), Value: []byte("new")})
	}
	select {
	case got := <-read:
		if got.Offset != 0 {
			t.Errorf("the first record read of the new topic is at %d", got.Offset)
		}
	case <-time.After(patience):
		t.Fatal("nothing is read of the new topic")
	}
}
